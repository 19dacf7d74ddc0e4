"""Reading a config from files of which something is wrong."""

from __future__ import annotations

import pytest

from mmdino.config_check.config_files import names_used, read_config

BASES = {
    "base.py": "x = 1\nlrs = dict(a=1)\n",
    "other.py": "x = 2\n",
    "broken.py": "a = (\n",
}
FILES = [
    ("none.py", None, FileNotFoundError, ["none.py' does not exist", "configs'"]),
    ("folder.py", "/", ValueError, ["folder.py' is a folder"]),
    ("a.txt", "x", ValueError, ["ends in '.txt'", ".py, .json, .yaml, .yml"]),
    ("empty.py", "", ValueError, ["empty.py' has no keys"]),
    ("a.py", "a = 1\nb = (\n", ValueError, ["a.py' has an error of syntax in line 2"]),
    ("a.py", "a = 1\nb = a + c\n", ValueError, ["a.py, line 2: NameError: name 'c'"]),
    ("a.py", "raise SystemExit(0)\n", ValueError, ["a.py, line 1: SystemExit: 0"]),
    ("a.py", "1 / 0\n", ValueError, ["a.py, line 1: ZeroDivisionError"]),
    (
        "a.py",
        "_base_ = ['no.py']\n",
        FileNotFoundError,
        ["a.py' is based on", "no.py', which does"],
    ),
    (
        "a.py",
        "_base_ = ['broken.py']\n",
        ValueError,
        ["broken.py' has an error of syntax in line 1"],
    ),
    ("a.py", "_base_ = ['a.py']\n", ValueError, ["a.py' is based on itself"]),
    ("a.py", "_base_ = 3\n", ValueError, ["The _base_ of the config", "cannot be read"]),
    ("a.py", "_base_ = ['base.py', 'other.py']\n", ValueError, ["Duplicate keys: {'x'}"]),
    ("a.py", "_base_ = ['base.py']\nx = dict(a=1)\n", ValueError, ["cannot inherit"]),
    ("a.py", "filename = 3\n", ValueError, ["filename is reserved"]),
    ("a.py", "custom_imports = dict(imports=['no_such'])\n", ValueError, ["no_such", "PYTHONPATH"]),
    ("a.py", b"\xff\xfe", ValueError, ["a.py' is no text in UTF-8"]),
    ("a.json", '{"a": ', ValueError, ["a.json' cannot be read", "line 1"]),
    ("a.json", "[1]", ValueError, ["a.json' cannot be read: it holds [1]"]),
    ("a.yaml", "a: [1\n", ValueError, ["a.yaml' cannot be read", "line 1"]),
    ("a.yaml", "", ValueError, ["a.yaml' cannot be read: it holds None"]),
]


@pytest.mark.parametrize(("name", "text", "error", "named"), FILES)
def test_what_is_wrong_with_a_file_is_named(tmp_path, name, text, error, named):
    for base, content in BASES.items():
        (tmp_path / base).write_text(content)
    file = tmp_path / name
    if text == "/":
        file.mkdir()
    elif text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error) as found:
        read_config(str(file))
    for part in named:
        assert part in str(found.value)


def test_variables_are_those_that_a_file_or_its_base_makes_use_of(tmp_path):
    (tmp_path / "base.py").write_text("a = 1\nb = dict(x=a)\nunused = 2\n")
    child = tmp_path / "child.py"
    child.write_text("_base_ = ['base.py']\nc = _base_.b\nd = '{{_base_.e.f}}'\n")
    assert names_used(child) >= {"a", "b", "e"}
    assert not names_used(child) & {"c", "d", "unused"}


def test_files_in_the_new_style_are_read(tmp_path):
    (tmp_path / "base.py").write_text("a = 1\nb = a\n")
    child = tmp_path / "child.py"
    child.write_text(
        "from mmengine.config import read_base\nwith read_base():\n    from .base import *\nc = 2\n"
    )
    assert read_config(str(child)).b == 1
    assert names_used(child) >= {"a"}

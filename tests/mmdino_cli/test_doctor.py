"""``mmdino doctor`` says what there is and what is missing."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from mmdino_cli import doctor

MODULES = {"faiss-cpu": "faiss", "mlflow-skinny": "mlflow", "scikit-learn": "sklearn"}
"""Modules by their packages, where the names differ."""
OF_OTHERS = ("onedl", "openmmlab", "docs", "tests")
"""Extras that mmdino does not work without, or that are for its developers."""
WITHOUT = """
import sys
from importlib import metadata

installed = metadata.version

def version(name):
    if "mmengine" in name:
        raise metadata.PackageNotFoundError(name)
    return installed(name)

metadata.version = version
sys.modules["mmengine"] = None
from mmdino_cli.main import main
main(sys.argv[1:])
"""


def test_what_is_installed_is_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        doctor.main([])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    for name in ("mmdino", "Python", "torch", "devices", "OpenMMLab", "cores"):
        assert f"\n{name} " in f"\n{shown}"
    assert "problem" not in shown


def test_a_missing_package_has_its_purpose_and_command():
    assert not doctor.missing(lambda name: True)
    (line,) = doctor.missing(lambda name: name != "faiss")
    assert line.startswith("faiss is not installed (curate")
    assert line.endswith('pip install "mmdino[curate]"')


def test_every_package_of_an_extra_is_known(monkeypatch):
    packaging = {}
    monkeypatch.setattr("setuptools.setup", packaging.update)
    runpy.run_path(str(Path(__file__).parents[2] / "setup.py"))
    for extra, requirements in packaging["extras_require"].items():
        if extra in OF_OTHERS:
            continue
        names = {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}
        modules = {MODULES.get(name, name) for name in names}
        assert modules == {each.module for each in doctor.OPTIONAL if each.extra == extra}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flags : fpu avx512_bf16 amx_bf16", ["avx512_bf16", "amx_bf16"]),
        ("Features : fp asimd bf16", ["bf16"]),
        ("flags : fpu avx512f", []),
        ("", []),
    ],
)
def test_instructions_for_bfloat16(text, expected):
    assert doctor.bfloat16_instructions(text) == expected


def run_without_mmengine(*arguments):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT, *arguments], capture_output=True, text=True
    )


def test_it_works_without_mmengine():
    result = run_without_mmengine("doctor")
    assert result.returncode == 1
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("problem")]
    assert "mmdino needs mmengine" in line
    assert 'pip install "mmdino[onedl]"' in line


def test_a_tool_without_mmengine_is_an_error_in_one_line():
    result = run_without_mmengine("train", "dino_demo")
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: mmdino needs mmengine")

"""Any file name can be printed, and reads as before where it is plain text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmdino.utils.printable import printable


@pytest.mark.parametrize(
    "name", ["a.png", "my cat (1).jpg", "caf\xe9.png", "\u732b.png", "\U0001f431"]
)
def test_plain_text_is_kept(name):
    assert printable(name) == printable(Path(name)) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (os.fsdecode(b"caf\xe9.png"), "caf\\udce9.png"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
    ],
)
def test_everything_else_is_escaped(name, expected):
    assert printable(name) == expected

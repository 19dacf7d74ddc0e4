"""Configs read from their text."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmdino.utils.config_text import literal_config


def test_what_mmengine_writes_is_read_back():
    values = {
        "model": {"type": "A", "sizes": [1, 2.5, -3, None, True], "nested": {"a/b": {"c": "d"}}},
        "resume": False,
    }
    assert literal_config(Config(values).pretty_text) == values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nx = os.system('true')\ny = 1", {"x": None, "y": 1}),
        ("x = dict(a=open('f'), b=[f(), 2])", {"x": {"a": None, "b": [None, 2]}}),
        ("not python (", {}),
        ("x = " + "(" * 5000, {}),
        ("x = '\0'", {}),
    ],
)
def test_nothing_is_executed(text, expected):
    assert literal_config(text) == expected

"""Dicts and lists of them on the command line."""

from __future__ import annotations

import argparse

import pytest

from mmdino.utils.options_action import OptionsAction


def read(*options):
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=OptionsAction)
    return parser.parse_args(["--cfg-options", *options]).cfg_options


def test_dicts_are_read_beside_plain_values():
    options = read("a.b=1", "c=[{'type': 'A'}, {'type': 'B'}]", "d={'e': 0.5}", "f=epoch_{}.pth")
    assert options == {
        "a.b": 1,
        "c": [{"type": "A"}, {"type": "B"}],
        "d": {"e": 0.5},
        "f": "epoch_{}.pth",
    }


@pytest.mark.parametrize("value", ["[{'type': 'A'}", "[{type: 'A'}]", "{'a': b}"])
def test_what_is_no_dict_is_refused_with_an_example(value, capsys):
    with pytest.raises(SystemExit):
        read(f"a.b={value}")
    assert """expected a dict or a list of dicts as Python writes them""" in capsys.readouterr().err

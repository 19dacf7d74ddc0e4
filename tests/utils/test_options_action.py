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


VALUES = [
    ("/data/My Runs/epoch_1.pth", "/data/My Runs/epoch_1.pth"),
    ("/data/My Runs (2024)/a.pth", "/data/My Runs (2024)/a.pth"),
    ("/data/John's runs", "/data/John's runs"),
    ("'2024'", "2024"),
    ('"007"', "007"),
    ("'None'", "None"),
    ("'/d/a, b/c'", "/d/a, b/c"),
    ("'[1, 2]'", "[1, 2]"),
    ("' a '", " a "),
    ("''", ""),
    ("{}", {}),
    ("[ {'type': 'A b'} ]", [{"type": "A b"}]),
    ("['007', '/d/a, b', 1]", ["007", "/d/a, b", 1]),
    ("('1', 2)", ("1", 2)),
    ("[polar bear, 'cat']", ["polar bear", "cat"]),
    # As mmengine reads them.
    ("", ""),
    ("/d/a", "/d/a"),
    (" 7", 7),
    ("007", 7),
    ("1e-3", 0.001),
    ("true", True),
    ("None", None),
    ("1, 2", [1, 2]),
    ("a, b", ["a", "b"]),
    ("'a', 'b'", ["a", "b"]),
    ("[ 1, 2 ]", [1, 2]),
    ("(0.9, 0.95)", (0.9, 0.95)),
    ("[(1, 2), [a, b], c]", [(1, 2), ["a", "b"], "c"]),
    ("[]", []),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_texts_keep_their_blanks_and_quotes_make_a_text(text, value):
    found = read(f"a={text}")["a"]
    assert found == value
    assert type(found) is type(value)


def test_the_last_value_of_a_key_counts_and_repeated_options_add_up():
    assert read("a='x'", "a=1", "--cfg-options", "b={}") == {"a": 1, "b": {}}


@pytest.mark.parametrize("value", ["[{'type': 'A'}", "[{type: 'A'}]", "{'a': b}"])
def test_what_is_no_dict_is_refused_with_an_example(value, capsys):
    with pytest.raises(SystemExit):
        read(f"a.b={value}")
    assert """expected a dict or a list of dicts as Python writes them""" in capsys.readouterr().err

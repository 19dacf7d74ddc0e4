"""Options that all benchmarks have."""

from __future__ import annotations

import pytest
import torch

from common.options import add_model_options, benchmark_parser, check_device, use_threads


def test_options_all_benchmarks_have():
    args = benchmark_parser("text", rounds=7).parse_args(["--smoke", "--json", "a.json"])
    assert (args.rounds, args.device, args.smoke, args.json) == (7, "cpu", True, "a.json")
    assert args.threads is None


def test_threads_must_be_positive():
    with pytest.raises(ValueError, match="--threads 0"):
        use_threads(0)


@pytest.mark.parametrize("name", ["cpu:x", "cpu:", "tpu", "cuda:-1", "cuda:7"])
def test_devices_that_are_not_there_are_refused(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=f"invalid --device {name}: "):
        check_device(name)
    check_device("cuda:1")
    check_device("cpu:0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "0"], "--rounds: '0' given, but a whole number of 1 or more expected"),
        (["--patch", "-1"], "--patch: '-1' given, but a whole number of 1 or more expected"),
        (["--locals", "-1"], "--locals: '-1' given, but a whole number of 0 or more expected"),
        (["--prototypes", "nan"], "--prototypes: 'nan' given, but a whole number of 1"),
        (["--figure", "a.txt"], "--figure: 'a.txt' given, but a file ending in .jpg, .pdf, .png"),
        (["--json", "."], "--json: '.' is a folder, or would lie in a file"),
        (["--json", f"{__file__}/a.json"], "a.json' is a folder, or would lie in a file"),
    ],
)
def test_wrong_values_are_told_before_anything_is_measured(capsys, options, message):
    parser = benchmark_parser("text")
    add_model_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(options)
    assert message in capsys.readouterr().err

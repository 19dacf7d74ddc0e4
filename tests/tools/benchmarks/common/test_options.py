"""Options that all benchmarks have."""

from __future__ import annotations

import pytest

from common.options import benchmark_parser, use_threads


def test_options_all_benchmarks_have():
    args = benchmark_parser("text", rounds=7).parse_args(["--smoke", "--json", "a.json"])
    assert (args.rounds, args.device, args.smoke, args.json) == (7, "cpu", True, "a.json")
    assert args.threads is None


def test_threads_must_be_positive():
    with pytest.raises(ValueError, match="--threads 0"):
        use_threads(0)

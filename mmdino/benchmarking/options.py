"""Command-line options that all benchmarks have."""

from __future__ import annotations

import argparse

import torch


def benchmark_parser(description: str, rounds: int = 5) -> argparse.ArgumentParser:
    """Returns a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="timed rounds")
    parser.add_argument("--threads", type=int, help="threads of torch; by default as they are")
    parser.add_argument("--device", default="cpu", help="where to compute, such as cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--json", help="file that the figures are written to")
    parser.add_argument("--figure", help="picture that is drawn")
    return parser


def use_threads(threads: int | None) -> None:
    """Sets the threads of torch, if a number is given.

    Raises:
        ValueError: If it is below 1.
    """
    if threads is None:
        return
    if threads < 1:
        raise ValueError(f"--threads {threads} came; it must be at least 1.")
    torch.set_num_threads(threads)

"""Command-line options that all benchmarks have."""

from __future__ import annotations

import argparse

import torch

from mmdino.benchmarking.dino_step import DTYPES

SMOKE_MODEL = {
    "arch": {"embed_dims": 16, "num_layers": 2, "num_heads": 2, "feedforward_channels": 64},
    "patch": 8,
    "prototypes": 64,
    "global_size": 32,
    "local_size": 16,
    "locals": 2,
}
"""Tiny values of :func:`add_model_options`."""


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


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of what is trained: network, views and precision."""
    parser.add_argument("--arch", default="deit-small", help="mmpretrain's name of the ViT")
    parser.add_argument("--patch", type=int, default=16, help="side of a patch")
    parser.add_argument("--prototypes", type=int, default=65536, help="K")
    parser.add_argument("--global-size", type=int, default=224, help="side of the 2 global views")
    parser.add_argument("--local-size", type=int, default=96, help="side of the local views")
    parser.add_argument("--locals", type=int, default=8, help="number of local views")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="fp32", help="autocast's")


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

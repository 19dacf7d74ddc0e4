"""Command-line options that all benchmarks have."""

from __future__ import annotations

import argparse

import torch

from common.dino_step import DTYPES

SMOKE_MODEL = {
    "arch": {"embed_dims": 16, "num_layers": 2, "num_heads": 2, "feedforward_channels": 64},
    "patch": 8,
    "prototypes": 64,
    "global_size": 32,
    "local_size": 16,
    "locals": 2,
}
"""Tiny values of :func:`add_model_options`."""


def benchmark_parser(
    description: str, rounds: int = 5, computes: bool = True
) -> argparse.ArgumentParser:
    """Returns a parser with the options that benchmarks share.

    Args:
        description: What it measures.
        rounds: Timed rounds, unless others are asked for.
        computes: Whether torch computes, on a device and in threads that can be chosen.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="timed rounds")
    if computes:
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


def use_machine(args: argparse.Namespace) -> None:
    """Checks the device that was chosen and sets the threads.

    Raises:
        ValueError: If work on the device cannot be timed, or the threads are below 1.
    """
    check_device(args.device)
    use_threads(args.threads)


def check_device(name: str) -> None:
    """Refuses a device that is neither a CPU nor a GPU of CUDA, or a GPU that torch does not see.

    Raises:
        ValueError: If so.
    """
    kind = name.split(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"--device {name} came; it must be cpu or cuda, such as cuda:0.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"--device {name} came, but torch {torch.__version__} sees no GPU here. Install a "
            "build of torch for your GPU and driver, or take --device cpu."
        )


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

"""Command-line options shared by the benchmarks."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from common.dino_step import DTYPES
from mmdino.utils.tool_errors import ToolParser

SMOKE_MODEL = {
    "arch": {"embed_dims": 16, "num_layers": 2, "num_heads": 2, "feedforward_channels": 64},
    "patch": 8,
    "prototypes": 64,
    "global_size": 32,
    "local_size": 16,
    "locals": 2,
}
"""Tiny values of :func:`add_model_options`."""
FIGURE_SUFFIXES = (".jpg", ".pdf", ".png", ".svg")


def benchmark_parser(
    description: str, rounds: int | None = 5, computes: bool = True
) -> argparse.ArgumentParser:
    """Returns a parser with the options of all benchmarks.

    Args:
        description: What the benchmark measures.
        rounds: Default number of timed rounds; None for a benchmark that has none.
        computes: Whether to add the options of torch: threads and device.
    """
    parser = ToolParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    if rounds is not None:
        parser.add_argument("--rounds", type=positive, default=rounds, help="timed rounds")
    if computes:
        parser.add_argument("--threads", type=int, help="torch threads; unchanged by default")
        parser.add_argument("--device", default="cpu", help="device, cpu or cuda")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to check that it runs")
    parser.add_argument("--json", type=output_file, help="JSON file to write the results to")
    parser.add_argument("--figure", type=figure_file, help="image file to draw the results to")
    return parser


def positive(text: str) -> int:
    """Type of a number of things, of which there must be one."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """Type of a number of things, of which there may be none."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not text.removeprefix("-").isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(
            f"{text!r} given, but a whole number of {least} or more expected"
        )
    return int(text)


def output_file(text: str) -> str:
    """Type of a file to write, which is checked before anything is measured."""
    path = Path(text)
    parents = [folder for folder in path.absolute().parents if folder.exists()]
    if path.is_dir() or not parents[0].is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder, or would lie in a file")
    return text


def figure_file(text: str) -> str:
    """Type of an image file to write."""
    if Path(text).suffix not in FIGURE_SUFFIXES:
        raise argparse.ArgumentTypeError(
            f"{text!r} given, but a file ending in {', '.join(FIGURE_SUFFIXES)} expected"
        )
    return output_file(text)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a training step: network, views and precision."""
    parser.add_argument("--arch", default="deit-small", help="mmpretrain's name of the ViT")
    parser.add_argument("--patch", type=positive, default=16, help="side of a patch, in pixels")
    parser.add_argument("--prototypes", type=positive, default=65536, help="K")
    parser.add_argument(
        "--global-size", type=positive, default=224, help="side of the 2 global views"
    )
    parser.add_argument("--local-size", type=positive, default=96, help="side of the local views")
    parser.add_argument("--locals", type=not_negative, default=8, help="number of local views")
    parser.add_argument(
        "--dtype",
        choices=sorted(DTYPES),
        default="fp32",
        help="of autocast; fp32: none",
    )


def use_machine(args: argparse.Namespace) -> None:
    """Checks the device and sets the number of threads.

    Raises:
        ValueError: If the device is not supported or not there, or the threads are below 1.
    """
    check_device(args.device)
    use_threads(args.threads)


def check_device(name: str) -> None:
    """Checks that a device is a CPU or an available CUDA GPU.

    Raises:
        ValueError: If it is not.
    """
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()) or name.endswith(":"):
        raise ValueError(f"invalid --device {name}: expected cpu or cuda, such as cuda:0.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"invalid --device {name}: torch {torch.__version__} finds no GPU. Install a build of "
            "torch for your GPU and driver, or use --device cpu."
        )
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"invalid --device {name}: there are {torch.cuda.device_count()} GPUs, from cuda:0 on."
        )


def use_threads(threads: int | None) -> None:
    """Sets the number of torch threads; None leaves it unchanged.

    Raises:
        ValueError: If it is below 1.
    """
    if threads is None:
        return
    if threads < 1:
        raise ValueError(f"invalid --threads {threads}: expected at least 1.")
    torch.set_num_threads(threads)

"""Measures the attention and the layers of ViTs side by side, to see how they differ.

python tools/diagnose.py CHECKPOINT [CHECKPOINT ...] IMAGES --out work_dirs/diagnose

Attention distance, similarity of heads, mutual information of query and key, average maps with how
diagonal and how columnar they are, and CKA between the layers of each two networks, as figures and
as JSON. The same command continues where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdino.utils.command_line import FIGURE_SUFFIXES, require_writable
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "checkpoint", nargs="+", help="checkpoints of mmdino, or any files of ViT weights"
    )
    parser.add_argument("source", metavar="IMAGES", type=Path, help="folder of images, or an image")
    parser.add_argument(
        "--out", type=Path, default=Path("work_dirs/diagnose"), help="(%(default)s)"
    )
    parser.add_argument("--names", nargs="+", help="a name for each checkpoint, for the figures")
    parser.add_argument("--network", choices=("teacher", "student"), default="teacher")
    parser.add_argument(
        "--untrained",
        type=int,
        nargs="?",
        const=0,
        metavar="SEED",
        help="also show a network like the first one, not trained",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs="+",
        metavar=("HEIGHT", "WIDTH"),
        help="pixels at which the images enter all networks, one number for squares; by default "
        "what the first network was trained for. The centre of an image is cropped to these "
        "proportions and resized",
    )
    parser.add_argument(
        "--images", type=int, metavar="N", help="use at most N images, evenly spaced; default all"
    )
    parser.add_argument(
        "--batch", type=int, default=32, help="images at a time (%(default)s); CKA is of batches"
    )
    parser.add_argument(
        "--cka", action=argparse.BooleanOptionalAction, default=True, help="CKA between layers"
    )
    parser.add_argument(
        "--format", choices=[suffix[1:] for suffix in FIGURE_SUFFIXES], default="png"
    )
    parser.add_argument("--num-heads", type=int, help="number of heads, if not in the files")
    args = parser.parse_args(argv)
    for name in ("images", "batch"):
        number = getattr(args, name)
        if number is not None and number < 1:
            parser.error(f"--{name} must be at least 1, not {number}")
    if args.size is not None and (len(args.size) > 2 or min(args.size) < 1):
        parser.error(
            f"--size takes one or two numbers of at least 1, not {' '.join(map(str, args.size))}"
        )
    return args


def write_figures(
    out: Path,
    suffix: str,
    numbers: Mapping[str, Mapping[str, Any]],
    maps: Mapping[str, np.ndarray],
    cka: Mapping[tuple[str, str], np.ndarray],
) -> list[str]:
    """Writes the figures and returns the names of their files."""
    from mmdino.visualization.attention_figure import write_figure
    from mmdino.visualization.diagnostics_figure import draw_average_maps, draw_cka, draw_heads

    figures = {
        "heads": draw_heads(numbers),
        "average_maps": draw_average_maps(maps, numbers),
        **({"cka": draw_cka(cka)} if cka else {}),
    }
    for name, figure in figures.items():
        write_figure(figure, out / f"{name}.{suffix}")
    return [f"{name}.{suffix}" for name in figures]


def summary(numbers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns a line on the last layer of each network."""
    lines = []
    for name, values in numbers.items():
        last = {
            key: np.array(values[key][-1], dtype=float).mean()
            for key in ("distance", "similarity", "mutual_information")
        }
        lines.append(
            f"{name}, last layer: attention distance {last['distance']:.1f} px "
            f"(even attention: {values['uniform_distance']:.1f}), head similarity "
            f"{last['similarity']:.2f}, mutual information {last['mutual_information']:.2f}"
        )
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Measures what is not measured yet, and draws the figures."""
    args = parse_args(argv)

    from mmengine.registry import init_default_scope

    from mmdino.diagnostics.diagnosis import RECORD, Diagnosis
    from mmdino.diagnostics.images import check_shape, find_images
    from mmdino.diagnostics.networks import load_networks, network_names

    init_default_scope("mmpretrain")
    names = network_names(args.checkpoint, args.names)
    paths = find_images(args.source, args.images)
    require_writable(args.out, "folder", "Choose another with --out.")
    networks = load_networks(args.checkpoint, names, args.network, args.num_heads, args.untrained)
    sides = args.size or networks[0].backbone.img_size
    shape = (sides[0], sides[-1])
    for network in networks:
        check_shape(shape, network.backbone, network.name)
    print(
        f"{len(paths)} image(s) enter the networks as {shape[0]} x {shape[1]} px (height x width)"
    )
    diagnosis = Diagnosis(args.out, paths, shape, args.batch)
    numbers = {network.name: diagnosis.attention_of(network) for network in networks}
    maps = {network.name: diagnosis.average_maps(network) for network in networks}
    cka = diagnosis.cka_of(networks) if args.cka else {}
    figures = write_figures(args.out, args.format, numbers, maps, cka)
    print("\n".join(summary(numbers)))
    print(f"Written to {args.out}: {', '.join([RECORD, *figures])}")


if __name__ == "__main__":
    run_tool(main)

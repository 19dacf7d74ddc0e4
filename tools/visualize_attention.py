"""Visualises the class token's attention in the last block of a ViT, head by head.

python tools/visualize_attention.py CHECKPOINT IMAGE --out attention

INPUT may be images, folders of images and videos. By default each image gives one figure; with
--format gif or mp4 each folder or video gives one animation; with --figure all images give one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from mmdino.evaluation.protocol import FRACTION
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.command_line import check_fps, progress_bar
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from mmdino.evaluation.image_input import Statistics
    from mmdino.visualization.sources import Source

MAX_IN_GRID = 32
"""Images of --figure, each of which is a row."""
HEADS_IN_GRID = {1: 4, 2: 2}
"""Default number of heads of --figure, by the number of networks."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint of mmdino, or any file of ViT weights")
    parser.add_argument("input", nargs="+", help="image, folder of images, or video")
    parser.add_argument("--out", type=Path, help="output folder")
    parser.add_argument(
        "--figure",
        type=Path,
        metavar="FILE",
        help=f"write one figure of the images instead, at most {MAX_IN_GRID}",
    )
    parser.add_argument("--format", choices=("png", "gif", "mp4"), default="png")
    parser.add_argument("--network", choices=("teacher", "student"), default="teacher")
    parser.add_argument(
        "--untrained",
        type=int,
        nargs="?",
        const=0,
        metavar="SEED",
        help="also show the same network untrained: beside it in --figure, else in further files",
    )
    parser.add_argument(
        "--size",
        type=int,
        help="shorter side of the network's input in pixels; by default that of the image, but at "
        "most 480 for a network trained at 224, and in proportion for others",
    )
    parser.add_argument(
        "--fraction", type=float, default=FRACTION, help="fraction of attention that a mask holds"
    )
    parser.add_argument(
        "--heads",
        type=int,
        nargs="+",
        help="heads to show, from 0; an animation shows their mean. By default all, in --figure "
        "the first 4, or 2 with --untrained",
    )
    parser.add_argument("--smooth", action="store_true", help="interpolate between patches")
    parser.add_argument("--maps", action="store_true", help="also write the maps as .npz")
    parser.add_argument("--every", type=int, default=1, help="use every n-th frame or image")
    parser.add_argument("--fps", type=float, help="frames per second of an animation")
    parser.add_argument("--num-heads", type=int, help="number of heads, if not in the file")
    args = parser.parse_args(argv)
    if (args.out is None) == (args.figure is None):
        parser.error("give --out DIR for one file per image, or --figure FILE for one figure")
    if args.figure and (args.format != "png" or args.maps):
        parser.error("--figure writes one figure; omit --format and --maps")
    if args.figure and args.figure.resolve() in [Path(path).resolve() for path in args.input]:
        parser.error(f"--figure {args.figure} would overwrite an input; give another file")
    if args.every < 1:
        parser.error(f"--every must be at least 1, not {args.every}")
    if args.fps is not None and args.format == "png":
        parser.error("--fps is for an animation: add --format gif or mp4")
    check_fps(parser, args.fps)
    return args


def load_networks(args: argparse.Namespace) -> tuple[dict[str, nn.Module], Statistics]:
    """Loads the networks to show, by name, and how their images are normalised.

    Raises:
        FileNotFoundError: If the checkpoint does not exist.
        ValueError: If the network has no attention, or no such head.
    """
    import torch

    from mmdino.evaluation.attention import require_attention
    from mmdino.evaluation.stored_input import stored_statistics
    from mmdino.visualization.attention_figure import check_heads
    from mmdino.weights.networks import backbone_weights, build_backbone, untrained_like

    weights = backbone_weights(args.checkpoint, args.network, num_heads=args.num_heads)
    trained = build_backbone(weights.config, weights.state_dict, args.checkpoint)
    require_attention(trained)
    check_heads(args.heads or (), num_heads(trained))
    networks = {"trained": trained}
    if args.untrained is not None:
        networks[f"untrained, seed {args.untrained}"] = untrained_like(trained, args.untrained)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    networks = {name: network.to(device) for name, network in networks.items()}
    return networks, stored_statistics(weights.meta)


def num_heads(backbone: nn.Module) -> int:
    """Returns the number of heads of the last block."""
    return backbone.layers[-1].attn.num_heads


def compute_attention(
    backbone: nn.Module, image: np.ndarray, name: str, size: int | None, statistics: Statistics
) -> Tensor:
    """Computes the attention (heads, h, w) of an image, with its name in errors."""
    from mmdino.evaluation.attention import attention_maps
    from mmdino.evaluation.image_input import viewing_size

    try:
        size = viewing_size(backbone, image) if size is None else size
        return attention_maps(backbone, image, size, statistics)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def file_tag(network: str) -> str:
    """Returns the suffix of the names of a network's files."""
    return "attention" if network == "trained" else "attention_untrained"


def write_figures(
    sources: Sequence[Source],
    networks: Mapping[str, nn.Module],
    statistics: Statistics,
    args: argparse.Namespace,
) -> int:
    """Writes one figure per image and network and returns their number."""
    import numpy as np

    from mmdino.visualization.attention_figure import draw_attention_figure, write_figure
    from mmdino.visualization.sources import add_output

    mode = "bilinear" if args.smooth else "nearest"
    bar = progress_bar()
    written: set[Path] = set()
    for source in sources:
        for name, image in source.read():
            for network, backbone in networks.items():
                maps = compute_attention(backbone, image, name, args.size, statistics)
                path = args.out / f"{name}_{file_tag(network)}.png"
                add_output(path, written)
                notes = [name, f"{args.network} of {Path(args.checkpoint).name}"]
                if network != "trained":
                    notes[1] = f"{network}, architecture of {notes[1]}"
                figure = draw_attention_figure(image, maps, args.fraction, args.heads, notes, mode)
                write_figure(figure, path)
                if args.maps:
                    with atomic_write(path.with_suffix(".npz")) as temporary:
                        np.savez_compressed(temporary, attention=maps.numpy())
                bar.update()
    bar.file.write("\n")
    return bar.completed


def write_animations(
    sources: Sequence[Source],
    networks: Mapping[str, nn.Module],
    statistics: Statistics,
    args: argparse.Namespace,
) -> int:
    """Writes one animation per folder or video and network and returns their number.

    Raises:
        ValueError: If an input is a single image, or its images differ in size.
    """
    import numpy as np
    import torch

    from mmdino.visualization.attention_figure import attention_frames
    from mmdino.visualization.media import write_animation
    from mmdino.visualization.sources import add_output

    mode = "bilinear" if args.smooth else "nearest"
    bar = progress_bar()
    written: set[Path] = set()
    for source in sources:
        if not source.is_sequence:
            raise ValueError(
                f"{source.path} is one image, and an animation needs several: give a folder of "
                "images or a video, or omit --format."
            )
        for network, backbone in networks.items():
            maps = []
            for name, image in source.read():
                attention = compute_attention(backbone, image, name, args.size, statistics)
                maps.append(attention[args.heads or slice(None)].mean(0))
                bar.update()
                if maps[-1].shape != maps[0].shape:
                    raise ValueError(
                        f"{name} has another shape than the images before it. All frames of an "
                        "animation must have the same size."
                    )
            path = args.out / f"{source.name}_{file_tag(network)}.{args.format}"
            add_output(path, written)
            frames = (image for _, image in source.read())
            write_animation(
                path,
                attention_frames(frames, torch.stack(maps), args.fraction, mode),
                args.fps or source.fps,
            )
            if args.maps:
                with atomic_write(path.with_suffix(".npz")) as temporary:
                    np.savez_compressed(temporary, attention=torch.stack(maps).numpy())
    bar.file.write("\n")
    return len(sources) * len(networks)


def write_grid(
    sources: Sequence[Source],
    networks: Mapping[str, nn.Module],
    statistics: Statistics,
    args: argparse.Namespace,
) -> None:
    """Writes one figure of the first images."""
    from mmdino.visualization.attention_figure import draw_attention_grid, write_figure

    pairs = (pair for source in sources for pair in source.read())
    named = list(islice(pairs, MAX_IN_GRID))
    if next(pairs, None) is not None:
        print(
            f"{args.figure} shows the first {MAX_IN_GRID} images; --every N takes every Nth, and "
            "--out DIR draws all, a file each."
        )
    maps = {
        network: [
            compute_attention(backbone, image, name, args.size, statistics) for name, image in named
        ]
        for network, backbone in networks.items()
    }
    default = min(HEADS_IN_GRID[len(networks)], num_heads(networks["trained"]))
    heads = args.heads or range(default)
    mode = "bilinear" if args.smooth else "nearest"
    images = [image for _, image in named]
    write_figure(draw_attention_grid(images, maps, args.fraction, heads, mode), args.figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the figures or animations."""
    args = parse_args(argv)

    from mmengine.registry import init_default_scope

    from mmdino.evaluation.attention import check_fraction
    from mmdino.visualization.attention_figure import check_figure_path
    from mmdino.visualization.sources import source_of

    check_fraction(args.fraction)
    if args.figure:
        check_figure_path(args.figure)
    init_default_scope("mmpretrain")
    sources = [source_of(Path(path), args.every) for path in args.input]
    networks, statistics = load_networks(args)
    if args.figure:
        write_grid(sources, networks, statistics, args)
        print(f"Wrote {args.figure}.")
        return
    write = write_figures if args.format == "png" else write_animations
    count = write(sources, networks, statistics, args)
    print(f"Wrote {count} {'figure' if args.format == 'png' else 'animation'}(s) to {args.out}.")


if __name__ == "__main__":
    run_tool(main)

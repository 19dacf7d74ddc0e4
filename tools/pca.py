"""Shows the principal components of patch features as colours (Oquab et al. 2023, figure 1).

python tools/pca.py CHECKPOINT photo.jpg other.jpg --figure pca.jpg

INPUT may be images, folders of images and videos. One PCA is fitted to all of them, so that equal
colours mean similar features in all. --figure writes one figure, images above and colours below;
--out writes one picture per image and one video per video.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmdino.evaluation.protocol import FOREGROUNDS
from mmdino.utils.command_line import check_fps, progress_bar
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    import numpy as np
    from mmengine.utils import ProgressBar
    from torch import Tensor

    from mmdino.visualization.pca_painter import Painter
    from mmdino.visualization.sources import Source

FIT_IMAGES = 32
SHOWN_SIZES = 5
"""Sizes of images that the tool prints."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint of mmdino, or any file of weights")
    parser.add_argument("input", nargs="+", help="image, folder of images, or video")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="write one figure of all images"
    )
    parser.add_argument("--out", type=Path, help="folder for one file per image or video")
    parser.add_argument(
        "--format",
        choices=("png", "gif", "mp4"),
        help="of the files in --out; by default png for images and mp4 for videos. A folder gives "
        "an animation with gif or mp4",
    )
    parser.add_argument("--network", choices=("teacher", "student"), default="teacher")
    parser.add_argument(
        "--untrained",
        type=int,
        nargs="?",
        const=0,
        metavar="SEED",
        help="also show the same network untrained, with a PCA of its own",
    )
    parser.add_argument(
        "--size",
        type=int,
        help="shorter side of the network's input in pixels; by default that of the image, but at "
        "most 480 for a network trained at 224, and in proportion for others",
    )
    parser.add_argument(
        "--foreground",
        choices=FOREGROUNDS,
        nargs="?",
        const="auto",
        help="leave out the background: patches on one side of the first component. auto: the side "
        "that is rarer at the borders of the images; positive, negative: the side by sign",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.0,
        help="where the foreground begins on the first component, in standard deviations from its "
        "mean",
    )
    parser.add_argument(
        "--fit",
        type=int,
        default=FIT_IMAGES,
        metavar="N",
        help="fit the PCA to at most N images or frames, evenly spaced; the others are projected",
    )
    parser.add_argument("--smooth", action="store_true", help="interpolate between patches")
    parser.add_argument("--every", type=int, default=1, help="use every n-th frame or image")
    parser.add_argument("--fps", type=float, help="frames per second of an animation")
    parser.add_argument("--num-heads", type=int, help="number of heads, if not in the file")
    args = parser.parse_args(argv)
    if args.out is None and args.figure is None:
        parser.error("give --figure FILE for one figure, or --out DIR for one file per input")
    if args.format and args.out is None:
        parser.error("--format is of the files in --out; --figure takes it from its suffix")
    if args.figure and args.figure.resolve() in [Path(path).resolve() for path in args.input]:
        parser.error(f"--figure {args.figure} would overwrite an input; give another file")
    if args.every < 1:
        parser.error(f"--every must be at least 1, not {args.every}")
    if args.fit < 1:
        parser.error(f"--fit must be at least 1, not {args.fit}")
    if args.threshold and args.foreground is None:
        parser.error("--threshold is that of --foreground; add it")
    if args.fps is not None and args.format == "png":
        parser.error("--fps is for an animation; omit it or --format png")
    check_fps(parser, args.fps)
    return args


def load_painters(args: argparse.Namespace) -> dict[str, Painter]:
    """Loads the networks to show, by the label of their row."""
    import torch

    from mmdino.evaluation.pca import load_map_backbone
    from mmdino.visualization.pca_painter import Painter
    from mmdino.weights.networks import untrained_like

    trained, statistics = load_map_backbone(args.checkpoint, args.network, args.num_heads)
    if args.untrained is None:
        networks = {"PCA": trained}
    else:
        untrained = untrained_like(trained, args.untrained)
        networks = {"trained": trained, f"untrained, seed {args.untrained}": untrained}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {
        name: Painter(network.to(device), args.size, statistics)
        for name, network in networks.items()
    }


def numbered(sources: Sequence[Source]) -> Iterator[tuple[int, str, np.ndarray]]:
    """Yields position, name and image of all images of all sources."""
    named = (pair for source in sources for pair in source.read())
    for index, (name, image) in enumerate(named):
        yield index, name, image


def fit(
    sources: Sequence[Source], painters: Mapping[str, Painter], total: int, args: argparse.Namespace
) -> tuple[list[str], list[str]]:
    """Fits the PCA of each network; returns lines on the sizes of inputs, and one on each PCA."""
    count = min(args.fit, total)
    chosen = {index * total // count for index in range(count)}
    sizes: dict[str, None] = {}
    bar = progress_bar(count)
    for index, name, image in numbered(sources):
        if index not in chosen:
            continue
        for painter in painters.values():
            painter.add(index, name, image)
            sizes[painter.input_text(image)] = None
        bar.update()
    bar.file.write("\n")
    shown = list(sizes)[:SHOWN_SIZES]
    if len(sizes) > SHOWN_SIZES:
        shown.append(f"and {len(sizes) - SHOWN_SIZES} other sizes, likewise")
    lines = []
    for label, painter in painters.items():
        pca = painter.fit(args.foreground, args.threshold)
        percents = ", ".join(f"{100 * fraction:.0f} %" for fraction in pca.explained.tolist())
        which = "patches" if pca.foreground is None else "foreground patches"
        lines.append(
            f"{label}: {pca.patches} {which} of {count} of {total} image(s); red, green and blue "
            f"show {percents} of the variance"
        )
    return shown, lines


def write_files(
    sources: Sequence[Source], painters: Mapping[str, Painter], total: int, args: argparse.Namespace
) -> int:
    """Writes a picture per image, or an animation per folder or video; returns their number.

    Raises:
        ValueError: If two files would have one name, or frames of an animation differ in size.
    """
    from mmdino.visualization.attention_figure import to_canvas
    from mmdino.visualization.media import write_animation, write_image
    from mmdino.visualization.pca_figure import color_picture, pca_frames
    from mmdino.visualization.sources import add_output

    mode = "bilinear" if args.smooth else "nearest"
    bar = progress_bar(total * len(painters))
    written: set[Path] = set()
    start = 0
    for source in sources:
        suffix = output_format(source, args.format)
        for number, painter in enumerate(painters.values()):
            tag = "pca_untrained" if number else "pca"
            images = painted(source, painter, start, bar)
            if suffix == "png":
                for name, image, colors in images:
                    path = args.out / f"{name}_{tag}.png"
                    add_output(path, written)
                    write_image(path, color_picture(colors, to_canvas(image).shape[:2], mode))
            else:
                path = args.out / f"{source.name}_{tag}.{suffix}"
                add_output(path, written)
                pairs = ((image, colors) for _, image, colors in images)
                write_animation(path, pca_frames(pairs, mode), args.fps or source.fps)
        start += source.count()
    bar.file.write("\n")
    return len(written)


def output_format(source: Source, wanted: str | None) -> str:
    """Returns the format of a source's files in --out.

    Raises:
        ValueError: If a single image is to be animated.
    """
    from mmdino.visualization.media import is_video

    if wanted in ("gif", "mp4") and not source.is_sequence:
        raise ValueError(
            f"{source.path} is one image, and an animation needs several: give a folder of images "
            "or a video, or omit --format."
        )
    return wanted or ("mp4" if is_video(source.path) else "png")


def painted(
    source: Source, painter: Painter, start: int, bar: ProgressBar
) -> Iterator[tuple[str, np.ndarray, Tensor]]:
    """Yields name, image and colours of a source whose first image has position ``start``."""
    for index, (name, image) in enumerate(source.read(), start):
        yield name, image, painter.colors(index, name, image)
        bar.update()


def write_all_in_one(
    sources: Sequence[Source],
    painters: Mapping[str, Painter],
    notes: Sequence[str],
    args: argparse.Namespace,
) -> None:
    """Writes one figure of all images."""
    from mmdino.visualization.attention_figure import write_figure
    from mmdino.visualization.pca_figure import draw_pca_figure

    images = list(numbered(sources))
    rows = {
        label: [painter.colors(*numbered_image) for numbered_image in images]
        for label, painter in painters.items()
    }
    mode = "bilinear" if args.smooth else "nearest"
    figure = draw_pca_figure([image for _, _, image in images], rows, notes, mode)
    write_figure(figure, args.figure)


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the figure, pictures and animations."""
    args = parse_args(argv)

    from mmengine.registry import init_default_scope

    from mmdino.visualization.attention_figure import check_figure_path
    from mmdino.visualization.pca_figure import check_number
    from mmdino.visualization.sources import source_of

    init_default_scope("mmpretrain")
    sources = [source_of(Path(path), args.every) for path in args.input]
    if args.figure:
        check_figure_path(args.figure)
    for source in sources:
        output_format(source, args.format)
    painters = load_painters(args)
    total = sum(source.count() for source in sources)
    if args.figure:
        check_number(total)
    sizes, lines = fit(sources, painters, total, args)
    print("\n".join([*sizes, *lines]))
    if args.figure:
        notes = [f"{args.network} of {Path(args.checkpoint).name}", *lines]
        write_all_in_one(sources, painters, notes, args)
        print(f"Wrote {args.figure}.")
    if args.out:
        count = write_files(sources, painters, total, args)
        print(f"Wrote {count} file(s) to {args.out}.")


if __name__ == "__main__":
    run_tool(main)

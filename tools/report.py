"""Writes the report of a training run: one page with curves, pictures, config and commands.

python tools/report.py work_dirs/dino_demo

The page is report.html in the work dir. It needs no network and no other file. The run may be
finished, stopped or going on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmdino.utils.command_line import require_writable_file
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from mmdino.report.page import Pictures
    from mmdino.report.work_dir import Run

VIEWED, SHOWN, ASKING, NEAREST, TIMES = 4, 6, 6, 6, 5
"""Images whose views are shown, that have maps, whose neighbours are shown; the number of these,
and the checkpoints that are compared."""


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work_dir", type=Path, help="work dir of a training run")
    parser.add_argument("--out", type=Path, metavar="FILE", help="by default WORK_DIR/report.html")
    parser.add_argument(
        "--images",
        type=Path,
        metavar="FOLDER",
        help="show attention, principal components and neighbours of these images; by default of "
        "those of the config's validation, if they are there",
    )
    parser.add_argument(
        "--no-images", action="store_true", help="read no images and no weights, which is fast"
    )
    parser.add_argument(
        "--pool",
        type=int,
        default=300,
        metavar="N",
        help="images among which neighbours are looked for (%(default)s)",
    )
    args = parser.parse_args(argv)
    if args.images is not None and args.no_images:
        parser.error("--images shows images, and --no-images none: leave one out")
    if args.out is not None and args.out.is_dir():
        parser.error(
            f"--out {args.out} is a folder: give a file, such as {args.out / 'report.html'}"
        )
    if args.pool < 2:
        parser.error(f"--pool must be at least 2, not {args.pool}")
    return args


def pictures_of(run: Run, args: argparse.Namespace) -> Pictures:
    """Makes the pictures of a run, as far as images and networks can be read.

    Raises:
        FileNotFoundError: If the folder of --images does not exist, or has no image.
        ValueError: If one of its images cannot be read, or the kept maps are damaged.
    """
    import torch

    from mmdino.report import pictures
    from mmdino.report.history import read_history
    from mmdino.report.page import Pictures

    config, bgr = run.config, pictures.is_bgr(run.config)
    views, images, neighbours, missing = [], None, [], []
    mapped, maps = (None if args.images else read_history(run.folder)) or (None, [])
    try:
        dataset = pictures.build_dataset(config, "train_dataloader")
        views = pictures.views_of(dataset, VIEWED, bgr)
    except pictures.NO_DATA as error:
        missing.append(f"Views of training images: {error}")
    missing += [f"A checkpoint: {reason}" for reason in run.unreadable]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if not run.checkpoints:
            raise ValueError("the work dir has no checkpoint yet")
        if args.images is None:
            dataset = pictures.build_dataset(config, "val_dataloader")
            images = pictures.images_of(dataset, args.pool, bgr)
        else:
            images = pictures.folder_images(args.images, args.pool, run.checkpoints[-1])
        if not maps:
            mapped = images.first(SHOWN)
            maps = list(pictures.maps_of_run(run, mapped, TIMES, device))
        neighbours = list(pictures.neighbours_of_run(run, images, ASKING, NEAREST, device))
    except pictures.NO_DATA as error:
        if args.images is not None and images is None and run.checkpoints:
            raise
        missing.append(f"Maps or neighbours: {error}. --images FOLDER takes images from there.")
    return Pictures(
        views=views,
        mapped=mapped,
        maps=maps,
        images=images,
        neighbours=neighbours,
        missing=missing,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the report."""
    args = parse_args(argv)

    from mmengine.registry import init_default_scope

    from mmdino.report import REPORT, read_run, write_report
    from mmdino.report.page import Pictures, accuracy_text, collapse_text, state_text

    init_default_scope("mmpretrain")
    run = read_run(args.work_dir)
    path = args.out or args.work_dir / REPORT
    require_writable_file(path, "--out")
    pictures = Pictures() if args.no_images else pictures_of(run, args)
    write_report(run, pictures, path)
    print(" ".join([state_text(run), collapse_text(run)[0], accuracy_text(run)]).rstrip())
    for line in pictures.missing:
        print(f"Missing: {line}")
    print(f"Wrote {path} ({path.stat().st_size / 1e6:.1f} MB).")


if __name__ == "__main__":
    run_tool(main)

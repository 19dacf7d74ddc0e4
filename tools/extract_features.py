"""Saves the features of any folder of images, with the names of the files.

python tools/extract_features.py CHECKPOINT IMAGES OUT

OUT is a folder, or a file whose suffix says the format: .npz, .parquet or .faiss. The same command
resumes after an interruption.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmdino.evaluation.bank_options import (
    add_extraction_options,
    command_line,
    extraction_options_from,
    network_from,
)
from mmdino.evaluation.extraction_options import LABELS
from mmdino.utils.printable import printable
from mmdino.utils.tool_errors import ToolParser, run_tool

SHOWN = 5
"""Images that cannot be read, of those that are named."""


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="file of weights, of this project or another")
    parser.add_argument(
        "images",
        help="folder of images, at any depth; a file that lists them, one path a line, relative to "
        "the folder of the file; or tar shards: a file, a pattern in quotes, or a folder of them",
    )
    parser.add_argument("out", help="folder or file for the features")
    parser.add_argument("--list", help="file that lists the images to use, relative to IMAGES")
    parser.add_argument(
        "--labels",
        choices=LABELS,
        default=LABELS[0],
        help="folders: those of the first level are classes, of shards the indices in KEY.cls; "
        "auto: if all images are in folders (%(default)s)",
    )
    parser.add_argument("--fraction", type=float, default=1.0, help="fraction of each class")
    parser.add_argument("--fraction-seed", type=int, default=0, help="seed of the fraction")
    add_extraction_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Computes and saves."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    options = extraction_options_from(args)

    from mmdino.evaluation.bank_files import format_of
    from mmdino.evaluation.embedding import embed_images, images_of

    format_of(args.out)  # Before the network is loaded.
    evaluated = network_from(args)
    images = images_of(
        args.images,
        options,
        args.labels,
        args.list,
        args.fraction,
        args.fraction_seed,
        evaluated.image_input,
    )
    command = command_line("extract_features.py", argv)
    bank = embed_images(evaluated, images, args.out, options, command)
    classes = f"{len(bank.classes)} classes" if bank.has_classes else "no classes"
    print(
        f"{bank.folder}: {len(bank)} features of {bank.width} numbers, {classes}, "
        f"{bank.plan['network']} of {bank.plan['checkpoint']}."
    )
    if bank.unreadable:
        source = Path(bank.plan["source"])
        shown = [
            f"{printable(source / name)} {reason}"
            for name, reason in list(bank.unreadable.items())[:SHOWN]
        ]
        more = ", ..." if len(bank.unreadable) > SHOWN else ""
        print(f"{len(bank.unreadable)} image(s) could not be read: {', '.join(shown)}{more}")


if __name__ == "__main__":
    run_tool(main)

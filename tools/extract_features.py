"""Saves the features of a folder of labelled images as a bank.

python tools/extract_features.py CHECKPOINT IMAGE_FOLDER BANK. The same command resumes after an
interruption.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mmdino.evaluation.bank_options import (
    add_extraction_options,
    bank_from,
    command_line,
    network_from,
)
from mmdino.utils.tool_errors import ToolParser, run_tool


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = ToolParser(description=__doc__)
    parser.add_argument("checkpoint", help="file of weights, of this project or another")
    parser.add_argument("images", help="folder with a folder of images per class")
    parser.add_argument("bank", help="folder to keep the features in")
    parser.add_argument("--fraction", type=float, default=1.0, help="fraction of each class")
    parser.add_argument("--fraction-seed", type=int, default=0, help="seed of the fraction")
    add_extraction_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Computes and saves."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    command = command_line("extract_features.py", argv)
    bank = bank_from(
        args, network_from(args), args.images, args.bank, command, args.fraction, args.fraction_seed
    )
    print(
        f"{bank.folder}: {len(bank)} features of {bank.width} numbers, {len(bank.classes)} "
        f"classes, {bank.plan['network']} of {bank.plan['checkpoint']}."
    )


if __name__ == "__main__":
    run_tool(main)

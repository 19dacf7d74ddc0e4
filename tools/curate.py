"""Curates unlabelled images by their features: near-duplicates, retrieval, balanced draws.

python tools/curate.py embed CHECKPOINT IMAGES BANK computes features; the other commands read them
and write a list that ImageFolder(list=...) trains from, and a report with pictures. See
docs/curation.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdino.curation.near_duplicates import NEIGHBOURS
from mmdino.curation.options import KEEP, ORIGINALS, PIXELS, PRECISION
from mmdino.curation.report import LIST, PAGE
from mmdino.curation.retrieval import AT_MOST, MIN_SEEDS, PER_CLUSTER, PER_SEED
from mmdino.curation.search import KINDS, import_faiss
from mmdino.evaluation.bank_options import (
    add_extraction_options,
    command_line,
    extraction_options_from,
    network_from,
)
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from mmdino.evaluation.bank_extraction import Evaluated

CHECKPOINT = f"file of weights, of this project or another, or the word {PIXELS!r}"


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="step", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., Any], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    added = command("embed", run_embed, "computes the features of a folder of images; resumes")
    added.add_argument("checkpoint", help=CHECKPOINT)
    added.add_argument("images", help="folder of images, at any depth")
    added.add_argument("bank", help="folder to keep the features in")
    added.add_argument("--list", help="file that lists the images to use")
    add_extraction_options(added)

    added = command("calibrate", run_calibrate, "plants altered copies and suggests a threshold")
    added.add_argument("checkpoint", help=CHECKPOINT)
    added.add_argument("images", help="folder of images, at any depth")
    added.add_argument("output", help="folder to write to")
    added.add_argument(
        "--images", dest="originals", type=int, default=ORIGINALS, help="originals (%(default)s)"
    )
    added.add_argument(
        "--precision",
        type=float,
        default=PRECISION,
        help="fraction of what is dropped that must be copies (%(default)s)",
    )
    added.add_argument("--seed", type=int, default=0, help="of the draw and the crops")
    add_extraction_options(added)

    added = command("dedup", run_dedup, "drops near-duplicates")
    _add_set(added)
    chosen = added.add_mutually_exclusive_group(required=True)
    chosen.add_argument(
        "--threshold",
        type=float,
        help="cosine similarity above which images are near-duplicates; the DINOv2 paper's 0.6 is "
        "for a copy-detection network (SSCD), other features need another",
    )
    chosen.add_argument("--calibration", help="output of calibrate, whose threshold is taken")
    added.add_argument(
        "--neighbours", type=int, default=NEIGHBOURS, help="compared with each image (%(default)s)"
    )
    added.add_argument("--keep", choices=KEEP, default=KEEP[0], help="of a group (%(default)s)")
    added.add_argument(
        "--against", nargs="+", default=[], metavar="BANK", help="features of evaluation sets"
    )
    added.add_argument(
        "--against-threshold",
        type=float,
        help="similarity to an evaluation image above which an image and its group are dropped; "
        "that of --threshold by default; the paper's 0.45 is for SSCD",
    )
    _add_search(added)

    added = command("retrieve", run_retrieve, "takes images that resemble seed images")
    _add_set(added, "seeds")
    added.add_argument(
        "--per-seed", type=int, default=PER_SEED, help="nearest images of each (%(default)s)"
    )
    added.add_argument(
        "--clusters", type=int, help="take from this many clusters those that hold seeds instead"
    )
    added.add_argument(
        "--min-seeds", type=int, default=MIN_SEEDS, help="seeds of a cluster (%(default)s)"
    )
    added.add_argument(
        "--per-cluster", type=int, default=PER_CLUSTER, help="images of a cluster (%(default)s)"
    )
    added.add_argument("--at-most", type=int, default=AT_MOST, help="images in all (%(default)s)")
    _add_search(added)

    added = command("balance", run_balance, "draws as many images of each cluster")
    _add_set(added)
    added.add_argument("--clusters", type=int, required=True, help="number of k-means clusters")
    added.add_argument("--images", type=int, required=True, help="images to draw")
    added.add_argument("--seed", type=int, default=0, help="of the clusters and the draws")
    return parser


def _add_set(parser: argparse.ArgumentParser, other: str | None = None) -> None:
    parser.add_argument("bank", help="features of the images, from embed")
    if other:
        parser.add_argument(other, help=f"features of the {other}, from embed")
    parser.add_argument("output", help="folder to write to")
    parser.add_argument("--list", help="consider only these images, such as another step's list")


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--search", choices=KINDS, default=KINDS[0], help="of neighbours (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of what is random")


def _network(args: argparse.Namespace) -> Evaluated:
    if args.checkpoint == PIXELS:
        from mmengine.registry import init_default_scope

        from mmdino.curation.thumbnails import thumbnails

        init_default_scope("mmpretrain")
        return thumbnails(extraction_options_from(args).with_sizes().crop)
    return network_from(args)


def run_embed(args: argparse.Namespace, command: str) -> None:
    """Computes and saves features."""
    from mmdino.curation.embedding import embed

    options = extraction_options_from(args)
    embedded = embed(_network(args), args.images, args.bank, options, command, args.list)
    missing = len(embedded.unreadable)
    print(
        f"{args.bank}: {len(embedded.names)} features of {embedded.bank.width} numbers"
        + (f"; {missing} image(s) cannot be read, see unreadable.jsonl there." if missing else ".")
    )


def run_calibrate(args: argparse.Namespace, command: str) -> None:
    """Suggests a threshold."""
    from mmdino.curation.steps import calibrate

    import_faiss()
    options = extraction_options_from(args)
    numbers = calibrate(
        _network(args),
        args.images,
        args.output,
        options,
        command,
        args.originals,
        args.precision,
        args.seed,
    )
    at = numbers["at the suggested threshold"]
    if at is None:
        print(f"No threshold reaches a precision of {args.precision:g}; see {args.output}/{PAGE}.")
        return
    print(
        f"suggested threshold {at['threshold']:.4f}: precision {at['precision']:.4f}, recall "
        f"{at['recall']:.4f} of {numbers['originals']} planted copies"
    )
    for name, recall in at["by_alteration"].items():
        print(f"  {name:<16} {recall:.4f}")
    print(f"{args.output}/{PAGE} shows the pairs around it.")


def run_dedup(args: argparse.Namespace, command: str) -> None:
    """Drops near-duplicates."""
    from mmdino.curation.embedding import open_embedded
    from mmdino.curation.steps import Threshold, calibrated_threshold, deduplicate

    embedded = open_embedded(args.bank)
    threshold = Threshold(args.threshold, "--threshold")
    if args.calibration:
        threshold = calibrated_threshold(args.calibration, embedded)
    against = None
    if args.against_threshold is not None:
        against = Threshold(args.against_threshold, "--against-threshold")
    numbers = deduplicate(
        embedded,
        args.output,
        threshold,
        command,
        args.neighbours,
        [open_embedded(bank) for bank in args.against],
        against,
        args.keep,
        args.list,
        args.search,
        args.seed,
    )
    print(f"threshold {threshold.value:.4f} ({threshold.source})")
    _print_end(numbers, args.output)


def run_retrieve(args: argparse.Namespace, command: str) -> None:
    """Retrieves."""
    from mmdino.curation.embedding import open_embedded
    from mmdino.curation.steps import retrieve

    numbers = retrieve(
        open_embedded(args.bank),
        open_embedded(args.seeds),
        args.output,
        command,
        args.per_seed,
        args.clusters,
        args.min_seeds,
        args.per_cluster,
        args.at_most,
        args.list,
        args.search,
        args.seed,
    )
    _print_end(numbers, args.output)


def run_balance(args: argparse.Namespace, command: str) -> None:
    """Draws."""
    from mmdino.curation.embedding import open_embedded
    from mmdino.curation.steps import balance

    numbers = balance(
        open_embedded(args.bank),
        args.output,
        args.clusters,
        args.images,
        command,
        args.list,
        args.seed,
    )
    _print_end(numbers, args.output)


def _print_end(numbers: dict[str, Any], output: str) -> None:
    for name, value in numbers.items():
        if name.startswith("dropped"):
            print(f"  {name}: {value}")
    print(
        f"{numbers['kept']} of {numbers['considered']} images kept: "
        f"{Path(output) / LIST}; pictures: {Path(output) / PAGE}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a step."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    args.run(args, command_line("curate.py", argv))


if __name__ == "__main__":
    run_tool(main)

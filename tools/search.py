"""Finds the images of a folder that resemble a query, by the features that embed has saved.

python tools/search.py BANK QUERY ... --figure found.jpg
python tools/search.py BANK --duplicates

BANK is what tools/extract_features.py wrote. QUERY may be images and folders of images. The table
goes to the terminal; scores are cosine similarities. The network is the one that BANK was made
with.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.command_line import require_writable_file
from mmdino.utils.printable import printable
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from mmdino.curation.image_search import Neighbour, Pair
    from mmdino.curation.pictures import Section
    from mmdino.curation.steps import Threshold
    from mmdino.evaluation.feature_bank import FeatureBank

PICTURES = (".jpg", ".jpeg", ".png")
MISSING_NAMED = 5
PAIRS_IN_PICTURE = 40
WIDE = 8


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", help="features: a folder, or a file .npz, .parquet or .faiss")
    parser.add_argument("query", nargs="*", help="image, or folder of images")
    parser.add_argument("--k", type=int, default=7, help="neighbours of each (%(default)s)")
    parser.add_argument(
        "--duplicates", action="store_true", help="list the pairs of BANK that resemble each other"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="with --duplicates: all pairs above this similarity, which depends on the network; "
        "where there are more than a million, those of the nearest images",
    )
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        help="with --duplicates: all pairs above the threshold that curate calibrate found",
    )
    parser.add_argument(
        "--pairs", type=int, default=20, help="pairs without a threshold (%(default)s)"
    )
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the images, .jpg or .png")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table, and of what")
    parser.add_argument("--checkpoint", help="where the network is, if it was moved")
    parser.add_argument("--images", metavar="DIR", help="where the images are, if they were moved")
    args = parser.parse_args(argv)
    if args.duplicates and args.query:
        parser.error("--duplicates compares the images of BANK with each other: leave out QUERY")
    if not args.duplicates and not args.query:
        parser.error("give a QUERY to search for, or --duplicates")
    if not args.duplicates and (args.threshold is not None or args.calibration):
        parser.error("--threshold and --calibration are for --duplicates")
    if args.threshold is not None and args.calibration:
        parser.error("give --threshold or --calibration, not both")
    for name in ("k", "pairs"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1, not {getattr(args, name)}")
    if args.figure and args.figure.suffix.lower() not in PICTURES:
        parser.error(f"--figure {args.figure}: its suffix must be one of {', '.join(PICTURES)}")
    return args


class Picture(NamedTuple):
    """What --figure draws.

    Attributes:
        title: First line.
        sections: The images.
        limits: What it shows, where there is no room for all.
        wide: Images beside each other.
    """

    title: str
    sections: list[Section]
    limits: list[str]
    wide: int = WIDE


def find_neighbours(
    bank: FeatureBank, args: argparse.Namespace, source: Path
) -> tuple[list[Neighbour], Picture]:
    """Searches for the queries, and prints what is found."""
    from mmdino.curation.image_search import (
        QUERIES_IN_PICTURE,
        neighbour_sections,
        neighbours_in_picture,
        network_of,
        query_features,
        query_paths,
        search,
    )

    evaluated = network_of(bank, args.checkpoint)
    paths = query_paths(args.query, evaluated.image_input.extensions)
    features, queries, faults = query_features(evaluated, paths, bank)
    found = search(bank, features, queries, args.k)
    if args.k > len(bank):
        print(f"k {args.k} is lowered to {len(bank)}: {bank.folder} has {len(bank)} images")
    for neighbour in found:
        if neighbour.rank == 1:
            print(f"\n{printable(neighbour.query)}\n  rank   score  image")
        print(f"  {neighbour.rank:4}  {neighbour.score:6.3f}  {printable(neighbour.image)}")
    if faults:
        print(f"\n{len(faults)} of {len(paths)} queries cannot be read: {'; '.join(faults)}")
    report_missing([neighbour.image for neighbour in found], source)
    k, limits = min(args.k, len(bank)), []
    if len(queries) > QUERIES_IN_PICTURE:
        limits.append(f"the first {QUERIES_IN_PICTURE} of {len(queries)} queries")
    if (room := neighbours_in_picture(len(queries))) < k:
        limits.append(f"the first {room} of {k} neighbours")
    title = f"{len(bank)} images, {bank.plan['network']} of {bank.plan['checkpoint']}"
    wide = max(min(WIDE, 1 + k), 4)
    return found, Picture(title, neighbour_sections(found, source), limits, wide)


def find_pairs(
    bank: FeatureBank, args: argparse.Namespace, source: Path
) -> tuple[list[Pair], Picture]:
    """Searches for near-duplicates, and prints them."""
    from mmdino.curation.embedding import Embedded
    from mmdino.curation.image_search import find_duplicates, pair_section
    from mmdino.curation.near_duplicates import check_threshold
    from mmdino.curation.steps import Threshold, calibrated_threshold

    embedded = Embedded(bank, bank.names, bank.unreadable)
    threshold: Threshold | None = None
    if args.calibration:
        threshold = calibrated_threshold(args.calibration, embedded)
    elif args.threshold is not None:
        check_threshold("threshold", args.threshold)
        threshold = Threshold(args.threshold, "--threshold")
    pairs, compared = find_duplicates(embedded, threshold and threshold.value, args.pairs)
    if threshold is None:
        title = f"The {len(pairs)} most similar pairs of {len(bank)} images"
        print(f"{title}; which are duplicates depends on the network: see --calibration")
    else:
        title = (
            f"{len(pairs)} pairs in {len({pair.group for pair in pairs})} groups above "
            f"{threshold.value:.4f} ({threshold.source})"
        )
        if compared is not None:
            title += f"; there are more: of each image only the {compared} nearest were compared"
        print(title)
    if pairs:
        print("   score  group  images")
    for pair in pairs:
        print(f"  {pair.score:.4f}  {pair.group:5}  {printable(pair.first)}")
        print(f"{'':17}{printable(pair.second)}")
    report_missing([name for pair in pairs for name in (pair.first, pair.second)], source)
    section = pair_section(pairs[:PAIRS_IN_PICTURE], source, "similarity of the features")
    limits = []
    if len(pairs) > PAIRS_IN_PICTURE:
        limits.append(f"the first {PAIRS_IN_PICTURE} of {len(pairs)} pairs")
    return pairs, Picture(title, [section], limits)


def report_missing(names: Sequence[str], source: Path) -> None:
    """Says which images of the table are not there."""
    from mmdino.visualization.media import is_image_there

    missing = [name for name in dict.fromkeys(names) if not is_image_there(source / name)]
    if missing:
        more = ", ..." if len(missing) > MISSING_NAMED else ""
        print(
            f"{len(missing)} of these images are not in {printable(source)}: "
            f"{', '.join(map(printable, missing[:MISSING_NAMED]))}{more}. If the folder was moved, "
            "say where with --images."
        )


def write_table(
    found: Sequence[Neighbour | Pair], bank: FeatureBank, source: Path, args: argparse.Namespace
) -> None:
    """Writes the files of the table that the command line asks for."""
    import csv

    rows = [asdict(each) for each in found]
    if args.csv:
        names = ["score", "first", "second", "group"]
        if not args.duplicates:
            names = ["query", "rank", "score", "image"]
        with (
            atomic_write(args.csv) as partial,
            partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
        ):
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        print(f"Wrote {args.csv}.")
    if args.json:
        record = {
            "bank": str(bank.folder),
            "images": str(source),
            "network_sha256": bank.plan["network_sha256"],
            "pairs" if args.duplicates else "neighbours": rows,
        }
        with atomic_write(args.json) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n")
        print(f"Wrote {args.json}.")


def main(argv: Sequence[str] | None = None) -> None:
    """Searches, and writes what is found."""
    args = parse_args(argv)

    from mmengine.registry import init_default_scope

    from mmdino.curation.image_search import require_names
    from mmdino.curation.pictures import draw_strips
    from mmdino.evaluation.bank_files import open_features

    init_default_scope("mmpretrain")
    bank = open_features(args.bank)
    require_names(bank)
    source = Path(args.images or bank.plan["source"])
    for name in ("figure", "csv", "json"):
        if path := getattr(args, name):
            require_writable_file(path, f"--{name}")
    found, picture = (find_pairs if args.duplicates else find_neighbours)(bank, args, source)
    write_table(found, bank, source, args)
    if args.figure:
        draw_strips(args.figure, picture.title, picture.sections, picture.wide)
        for shown in picture.limits:
            print(f"{args.figure} shows {shown}")
        print(f"Wrote {args.figure}.")


if __name__ == "__main__":
    run_tool(main)

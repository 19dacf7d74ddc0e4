"""Reports how well features find copies: mAP on Copydays, micro-AP on lists like DISC21's.

python tools/eval_copy.py CHECKPOINT --copydays data/copydays --out work_dirs/copydays
python tools/eval_copy.py CHECKPOINT --queries q --references r --ground-truth gt.csv --out disc

The feature is the class token beside the generalised mean of the patch tokens (Caron et al. 2021,
section 4.2.1). A second run reuses the features of the first one, and continues an interrupted one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdino.utils.evaluation_options import (
    add_network_options,
    color_network_from,
    extractor,
    write_results,
)
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    import numpy as np

    Extract = Callable[[str, Sequence[Path]], np.ndarray]
    Whiten = Callable[[np.ndarray], np.ndarray]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network_options(parser)
    data = parser.add_argument_group("data: Copydays, or a set like DISC21")
    data.add_argument("--copydays", type=Path, metavar="DIR", help="folder of Copydays")
    data.add_argument(
        "--blocks", nargs="+", metavar="NAME", help="of Copydays, such as strong; by default all"
    )
    data.add_argument(
        "--distractors", type=Path, metavar="DIR", help="images beside the originals of Copydays"
    )
    data.add_argument("--max-distractors", type=int, metavar="N", help="use the first N of them")
    data.add_argument("--queries", type=Path, metavar="DIR", help="images that may be copies")
    data.add_argument("--references", type=Path, metavar="DIR", help="images to compare with")
    data.add_argument(
        "--ground-truth", type=Path, metavar="CSV", help="columns query_id and reference_id"
    )
    data.add_argument(
        "--neighbours",
        type=int,
        default=100,
        help="references that are ranked for each query (%(default)s)",
    )
    group = parser.add_argument_group("features")
    group.add_argument(
        "--whitening", type=Path, metavar="DIR", help="other images, to learn whitening from"
    )
    group.add_argument("--size", type=int, default=320, help="side in pixels (%(default)s)")
    group.add_argument("--batch-size", type=int, default=16, help="(%(default)s)")
    group.add_argument("--workers", type=int, default=2, help="processes that read images")
    args = parser.parse_args(argv)
    lists = [args.queries, args.references, args.ground_truth]
    if args.copydays is None and not all(lists):
        parser.error("give --copydays DIR, or all of --queries, --references and --ground-truth")
    if args.copydays is not None and any(lists):
        parser.error("--copydays does not go with --queries, --references and --ground-truth")
    if args.copydays is None and (args.blocks or args.distractors):
        parser.error("--blocks and --distractors are for --copydays")
    if args.max_distractors is not None and args.distractors is None:
        parser.error("--max-distractors is for --distractors")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Computes and prints."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)

    from functools import partial

    from mmdino.evaluation.bank_options import command_line
    from mmdino.evaluation.copy_detection import CopyDescriptor, squeeze
    from mmdino.evaluation.copy_sets import images_below
    from mmdino.evaluation.listed_features import Protocol
    from mmdino.models.selfsup.base import patch_stride
    from mmdino.utils.numbers import require_number

    for name in ("size", "neighbours", "batch_size"):
        require_number("Copy detection", name, getattr(args, name), least=1, whole=True)
    if args.max_distractors is not None:
        require_number(
            "Copy detection", "max_distractors", args.max_distractors, least=1, whole=True
        )
    # What is missing is said before the features of hours.
    evaluate = (evaluate_lists if args.copydays is None else evaluate_copydays)(args)
    whitening_images = None if args.whitening is None else images_below(args.whitening)
    evaluated = color_network_from(args)
    require_multiple(args.size, patch_stride(evaluated.backbone)[0])
    protocol = Protocol(
        settings={"size": args.size},
        resize=partial(squeeze, size=args.size),
        descriptor=CopyDescriptor(evaluated.backbone),
        least_side=1,
        batch_size=args.batch_size,
        workers=args.workers,
    )
    extract = extractor(evaluated, protocol, args, command_line("eval_copy.py", argv))
    whiten = whitening_from(extract, whitening_images)
    results = {
        "checkpoint": evaluated.checkpoint,
        "network": evaluated.network,
        "size": args.size,
        "whitening_images": len(whitening_images or ()),
        **evaluate(extract, whiten),
    }
    write_results(args.out / "results.json", results)
    print(f"Wrote {args.out / 'results.json'}.")


def require_multiple(size: int, multiple: int) -> None:
    """Checks that a network takes images of a size.

    Raises:
        ValueError: If it does not.
    """
    if size % multiple:
        nearest = max(1, round(size / multiple)) * multiple
        raise ValueError(
            f"--size {size} is no multiple of the network's patch of {multiple} pixels. Give "
            f"--size {nearest}."
        )


def whitening_from(extract: Extract, images: Sequence[Path] | None) -> Whiten:
    """Learns whitening from images; without them features stay as they are."""
    from mmdino.evaluation.copy_detection import learn_whitening

    if images is None:
        return lambda features: features
    features = extract("whitening", images)
    if len(features) < features.shape[1]:
        print(
            f"Whitening of {features.shape[1]} numbers is learnt from {len(features)} images only; "
            "the paper takes 20,000."
        )
    return learn_whitening(features).apply


def evaluate_copydays(args: argparse.Namespace) -> Callable[[Extract, Whiten], dict[str, Any]]:
    """Reads Copydays; returns the function that evaluates features on it."""
    import numpy as np
    import torch

    from mmdino.evaluation.copy_detection import RETRIEVED, retrieved_average_precision
    from mmdino.evaluation.copy_sets import images_below, read_copydays
    from mmdino.evaluation.knn import nearest_neighbours

    data = read_copydays(args.copydays, args.blocks)
    distractors = []
    if args.distractors is not None:
        distractors = images_below(args.distractors, args.max_distractors)

    def evaluate(extract: Extract, whiten: Whiten) -> dict[str, Any]:
        database = [extract("original", data.originals)]
        if distractors:
            database.append(extract("distractors", distractors))
        database = torch.from_numpy(whiten(np.concatenate(database)))
        print(f"Copydays: {len(data.originals)} originals and {len(distractors)} distractors")
        found = {}
        for name, block in data.blocks.items():
            queries = torch.from_numpy(whiten(extract(name, block.images)))
            retrieved = nearest_neighbours(queries, database, min(RETRIEVED, len(database)))[1]
            precisions = retrieved_average_precision(retrieved.numpy(), block.originals)
            found[name] = {"queries": len(queries), "map": 100 * float(precisions.mean())}
            print(f"  {name}: mAP {found[name]['map']:.1f} ({len(queries)} queries)")
        counts = {"originals": len(data.originals), "distractors": len(distractors)}
        return {**counts, "blocks": found}

    return evaluate


def evaluate_lists(args: argparse.Namespace) -> Callable[[Extract, Whiten], dict[str, Any]]:
    """Reads queries, references and pairs; returns the function that evaluates features on them."""
    import numpy as np
    import torch

    from mmdino.evaluation.copy_detection import micro_average_precision
    from mmdino.evaluation.copy_sets import images_below, read_pairs
    from mmdino.evaluation.knn import nearest_neighbours

    queries, references = images_below(args.queries), images_below(args.references)
    pairs = read_pairs(args.ground_truth, queries, references)

    def evaluate(extract: Extract, whiten: Whiten) -> dict[str, Any]:
        features = [extract("queries", queries), extract("references", references)]
        features = [torch.from_numpy(whiten(part)) for part in features]
        similarities, retrieved = nearest_neighbours(
            *features, min(args.neighbours, len(references))
        )
        correct = [
            [(query, reference) in pairs for reference in row]
            for query, row in enumerate(retrieved.tolist())
        ]
        found = 100 * micro_average_precision(
            similarities.flatten().numpy(), np.ravel(correct), len(pairs)
        )
        print(
            f"{len(queries)} queries, {len(references)} references, {len(pairs)} copies, "
            f"{retrieved.shape[1]} references ranked a query\n  micro-AP {found:.1f}"
        )
        return {
            "queries": len(queries),
            "references": len(references),
            "copies": len(pairs),
            "neighbours": retrieved.shape[1],
            "micro_ap": found,
        }

    return evaluate


if __name__ == "__main__":
    run_tool(main)

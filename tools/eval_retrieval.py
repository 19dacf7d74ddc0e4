"""Reports image retrieval on revisited Oxford and Paris: mAP and mP@k, medium, hard and easy.

python tools/eval_retrieval.py CHECKPOINT data --dataset roxford5k --out work_dirs/roxford5k

Features are compared by cosine similarity (Caron et al. 2021, section 4.2.1). A second run reuses
the features of the first one, and continues an interrupted one.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
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
    from mmdino.evaluation.retrieval import RetrievalScores


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network_options(parser)
    parser.add_argument("root", type=Path, help="folder with a folder of each data set")
    parser.add_argument(
        "--dataset",
        default="roxford5k",
        metavar="NAME",
        help="roxford5k, rparis6k, or a set in their layout (%(default)s)",
    )
    parser.add_argument(
        "--size", type=int, default=224, help="longest side in pixels, at most (%(default)s)"
    )
    parser.add_argument(
        "--multi-scale", action="store_true", help="average the features of three scales"
    )
    parser.add_argument(
        "--crop-queries",
        action="store_true",
        help="use the bounding boxes of the queries; the paper's figures are of the whole images",
    )
    parser.add_argument("--ks", type=int, nargs="+", default=[1, 5, 10], help="ranks of mP@k")
    parser.add_argument("--workers", type=int, default=2, help="processes that read images")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Computes and prints."""
    argv = sys.argv[1:] if argv is None else argv
    args = parse_args(argv)

    from functools import partial

    from mmdino.evaluation.bank_options import command_line
    from mmdino.evaluation.listed_features import ListedImage, Protocol
    from mmdino.evaluation.retrieval import (
        DIFFICULTIES,
        SCALES,
        RetrievalDescriptor,
        check_ks,
        rank,
        retrieval_scores,
        shrink,
    )
    from mmdino.evaluation.revisited_ground_truth import read_ground_truth
    from mmdino.utils.numbers import require_number

    check_ks(args.ks)
    require_number("Retrieval", "size", args.size, least=1, whole=True)
    folder = args.root / args.dataset
    truth = read_ground_truth(folder, args.dataset)
    boxes = truth.boxes() if args.crop_queries else [None] * len(truth.queries)
    evaluated = color_network_from(args)
    descriptor = RetrievalDescriptor(evaluated.backbone, SCALES if args.multi_scale else (1.0,))
    protocol = Protocol(
        settings={"size": args.size, "scales": list(descriptor.scales)},
        resize=partial(shrink, size=args.size),
        descriptor=descriptor,
        least_side=descriptor.least_side,
        # Images differ in size.
        batch_size=1,
        workers=args.workers,
    )
    extract = extractor(evaluated, protocol, args, command_line("eval_retrieval.py", argv))
    images = folder / "jpg"
    database = extract("database", [images / f"{name}.jpg" for name in truth.database])
    queries = extract(
        "queries",
        [
            ListedImage(images / f"{name}.jpg", box)
            for name, box in zip(truth.queries, boxes, strict=True)
        ],
    )
    ranks = rank(queries, database)
    results = {
        "dataset": args.dataset,
        "checkpoint": evaluated.checkpoint,
        "network": evaluated.network,
        **protocol.settings,
        "crop_queries": args.crop_queries,
        "database": len(truth.database),
        "queries": len(truth.queries),
    }
    print(
        f"{args.dataset}: {len(truth.queries)} queries, {len(truth.database)} images, longest side "
        f"{args.size}, {len(descriptor.scales)} scale(s)"
    )
    for difficulty in DIFFICULTIES:
        scores = retrieval_scores(ranks, truth.truth, difficulty, args.ks)
        results[difficulty] = as_json(scores, args.ks, truth.queries)
        print(f"  {difficulty}: {describe(scores, args.ks)}")
    write_results(args.out / "results.json", results)
    print(f"Wrote {args.out / 'results.json'}.")


def describe(scores: RetrievalScores, ks: Sequence[int]) -> str:
    """Returns the means of a difficulty in a line."""
    if not scores.counted.any():
        return "no query has a right image"
    precisions = ", ".join(
        f"mP@{k} {100 * value:.1f}" for k, value in zip(ks, scores.mean_precision_at_k, strict=True)
    )
    return (
        f"mAP {100 * scores.mean_average_precision:.1f}, {precisions} "
        f"({scores.counted.sum()} queries)"
    )


def as_json(
    scores: RetrievalScores, ks: Sequence[int], queries: Sequence[str]
) -> Mapping[str, Any]:
    """Returns the scores of a difficulty in percent, None where no image is right."""

    def percent(value: float) -> float | None:
        return None if math.isnan(value) else 100 * float(value)

    return {
        "map": percent(scores.mean_average_precision),
        "mean_precision_at_k": {
            str(k): percent(value) for k, value in zip(ks, scores.mean_precision_at_k, strict=True)
        },
        "queries": int(scores.counted.sum()),
        "average_precision": {
            name: percent(value)
            for name, value in zip(queries, scores.average_precision, strict=True)
        },
    }


if __name__ == "__main__":
    run_tool(main)

"""Reports logistic regression on the frozen features of few labelled images.

python tools/logistic_regression.py TRAIN_BANK TEST_BANK --fraction 0.01. With --checkpoint, --train
and --test it makes the banks first, or resumes an interrupted run of that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mmdino.evaluation.bank_options import add_bank_pair, bank_pair_from, command_line, describe
from mmdino.evaluation.protocol import FOLDS, STRENGTHS
from mmdino.utils.tool_errors import ToolParser, run_tool


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = ToolParser(description=__doc__)
    add_bank_pair(parser)
    parser.add_argument(
        "--fraction", type=float, default=1.0, help="fraction of each class to train on"
    )
    parser.add_argument(
        "--fraction-seed", type=int, nargs="+", default=[0, 1, 2], help="one draw for each seed"
    )
    parser.add_argument(
        "--c",
        type=float,
        nargs="+",
        default=list(STRENGTHS),
        help="inverse regularisation strengths to choose from; a single one is used as given",
    )
    parser.add_argument("--folds", type=int, default=FOLDS, help="folds of the cross-validation")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Computes and prints."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)

    import numpy as np

    from mmdino.datasets.balanced_subset import balanced_subset
    from mmdino.evaluation.logistic_regression import MAX_ITERATIONS, few_label_accuracy

    train, test = bank_pair_from(args, command_line("logistic_regression.py", argv))
    print(describe(train, test))
    print(f"logistic regression on {args.fraction:.4g} of the labels of each class")
    test_features, found = test[:], []
    # All labels leave nothing to draw.
    for seed in args.fraction_seed if args.fraction != 1 else args.fraction_seed[:1]:
        chosen = balanced_subset(train.labels, args.fraction, seed)
        result = few_label_accuracy(
            train[chosen],
            train.labels[chosen],
            test_features,
            test.labels,
            args.c,
            args.folds,
            seed,
        )
        found.append(result.top1)
        print(
            f"  seed {seed}: {len(chosen)} labelled images, C {result.strength:g} "
            f"({result.chosen_by}): top-1 {result.top1:.2f} %"
            + ("" if result.converged else f" (stopped after {MAX_ITERATIONS} iterations)"),
            flush=True,
        )
    if len(found) > 1:
        print(
            f"  mean of {len(found)} seeds: top-1 {np.mean(found):.2f} %, standard deviation "
            f"{np.std(found, ddof=1):.2f}"
        )


if __name__ == "__main__":
    run_tool(main)

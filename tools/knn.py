"""Reports weighted k-NN accuracy from two feature banks.

python tools/knn.py TRAIN_BANK TEST_BANK. With --checkpoint, --train and --test it makes the banks
first, or resumes an interrupted run of that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mmdino.evaluation.bank_options import add_bank_pair, bank_pair_from, command_line, describe
from mmdino.evaluation.protocol import KS, TEMPERATURE
from mmdino.utils.tool_errors import ToolParser, run_tool


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = ToolParser(description=__doc__)
    add_bank_pair(parser)
    parser.add_argument("--k", type=int, nargs="+", default=KS, help="numbers of neighbours")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE, help="of the votes")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Computes and prints."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)

    import torch
    from mmengine.device import get_device

    from mmdino.evaluation.knn import check_knn_options, knn_accuracy

    check_knn_options(args.k, args.temperature)
    train, test = bank_pair_from(args, command_line("knn.py", argv))
    print(describe(train, test))
    print(f"weighted k-NN, temperature {args.temperature}")
    accuracies = knn_accuracy(
        torch.from_numpy(test[:].astype("float32")).to(get_device()),
        torch.from_numpy(test.labels),
        train,
        torch.from_numpy(train.labels),
        tuple(args.k),
        args.temperature,
    )
    for k, (top1, top5) in accuracies.items():
        lowered = f" (lowered to {len(train)})" if k > len(train) else ""
        print(f"  k {k}{lowered}: top-1 {top1:.2f} %, top-5 {top5:.2f} %")


if __name__ == "__main__":
    run_tool(main)

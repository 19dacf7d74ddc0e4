"""Evaluates a checkpoint on a config's data.

The metric is weighted k-NN of the teacher for a pretraining config, effective ranks and shared
neighbours for one without labels, accuracy for a classifier and mIoU for a segmentor.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmdino.utils.command_line import existing_file, load_config, tool_parser
from mmdino.utils.tool_errors import run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from mmengine.runner import Runner

EFFECTIVE_RANKS = ("rankme", "lidar")
"""Metrics of a validation without labels that are no percentages."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument("checkpoint", help="path of the checkpoint")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Tests, or validates where the config has nothing to test."""
    args = parse_args(argv)

    from mmengine.dist import is_main_process
    from mmengine.runner import Runner

    from mmdino.engine.training import short_start
    from mmdino.weights.runner_loading import restrict_loading

    restrict_loading()
    cfg = load_config(args)
    cfg.load_from = existing_file(args.checkpoint, "checkpoint")
    cfg.resume = False
    runs_test = cfg.get("test_cfg") is not None
    if not runs_test and cfg.get("val_cfg") is None:
        raise ValueError(
            f"{args.config} has no k-NN validation. Give it val_dataloader, val_cfg and "
            "val_evaluator with a labelled data set; configs/_base_/datasets/imagenet.py has some."
        )
    runner = short_start(Runner).from_cfg(cfg)
    metrics = runner.test() if runs_test else runner.val()
    if is_main_process():
        report(args.checkpoint, metrics, bank_size(runner))


def bank_size(runner: Runner) -> int | None:
    """Returns the number of images that vote in k-NN, None if there is no k-NN."""
    loader = getattr(runner._val_loop, "bank_dataloader", None)
    return None if loader is None else len(loader.dataset)


def report(checkpoint: str, metrics: Mapping[str, float], bank: int | None = None) -> None:
    """Prints the metrics of a checkpoint.

    Args:
        checkpoint: Path of the checkpoint.
        metrics: Metrics by name.
        bank: Number of images in the k-NN bank, if there is one; a k above it is lowered to it.
    """
    print(f"{checkpoint}:")
    for name, value in metrics.items():
        print(f"  {name}: {in_unit(name, value)}")
    ks = sorted({int(match[1]) for name in metrics if (match := re.search(r"/k(\d+)_", name))})
    if bank is not None and ks and ks[-1] > bank:
        lowered = ", ".join(str(k) for k in ks if k > bank)
        print(f"  k {lowered}: lowered to {bank}, the number of images in the k-NN bank")


def in_unit(name: str, value: float) -> str:
    """Returns a metric with its unit: effective ranks count dimensions, others are percentages."""
    if name.rpartition("/")[2] in EFFECTIVE_RANKS:
        return f"{value:.2f} dimensions"
    return f"{value:.3f} s" if "time" in name else f"{value:.2f} %"


if __name__ == "__main__":
    run_tool(main)

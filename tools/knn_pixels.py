"""Reports weighted k-NN on raw pixels, with the data sets and the k of a config.

The baseline of a network's k-NN accuracy: python tools/knn_pixels.py CONFIG.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mmdino.utils.command_line import load_config, tool_parser
from mmdino.utils.tool_errors import run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from torch import Tensor


def pixels(dataloader: dict) -> tuple[Tensor, Tensor]:
    """Returns the pixels (N, C * H * W) and the labels (N,)."""
    import torch
    from mmengine.runner import Runner

    from mmdino.evaluation.bank_metric import label_of
    from mmdino.evaluation.features import collate_equal_shapes

    images, labels = [], []
    loader = Runner.build_dataloader(dataloader)
    loader.collate_fn = partial(collate_equal_shapes, loader.collate_fn)
    for batch in loader:
        images.append(torch.stack(list(batch["inputs"])).flatten(1).float())
        labels += [label_of(sample) for sample in batch["data_samples"]]
    return torch.cat(images), torch.tensor(labels)


def raw(images: Tensor) -> Tensor:
    """Returns pixels unchanged; brightness then dominates the similarity."""
    return images


def centered(images: Tensor) -> Tensor:
    """Subtracts from the pixels the mean of their image."""
    return images - images.mean(1, keepdim=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Computes and prints."""
    parser = tool_parser(__doc__)
    args = parser.parse_args(argv)
    if args.launcher != "none" or args.work_dir:
        parser.error("one process computes, and nothing is written: omit --launcher and --work-dir")

    from mmengine.registry import METRICS, init_default_scope

    from mmdino.evaluation.knn import knn_accuracy, unknown_labels

    cfg = load_config(args, needs=("val_dataloader", "val_cfg", "val_evaluator"))
    if "bank_dataloader" not in cfg.val_cfg:
        raise ValueError(
            f"{args.config} has no k-NN bank: val_cfg has no bank_dataloader. Take a config of "
            "pretraining, such as configs/dino_vitt4_cifar10.py."
        )
    init_default_scope(cfg.default_scope)
    metric = METRICS.build(cfg.val_evaluator)
    queries, query_labels = pixels(cfg.val_dataloader)
    bank, bank_labels = pixels(cfg.val_cfg.bank_dataloader)
    if unknown := unknown_labels(query_labels, bank_labels):
        print(unknown)
    print(f"{len(bank)} bank and {len(queries)} query images, temperature {metric.temperature}")
    for name, change in (("raw pixels", raw), ("less the image's mean", centered)):
        accuracies = knn_accuracy(
            change(queries), query_labels, change(bank), bank_labels, metric.ks, metric.temperature
        )
        for k, (top1, top5) in accuracies.items():
            lowered = f" (lowered to {len(bank)})" if k > len(bank) else ""
            print(f"  {name}, k {k}{lowered}: top-1 {top1:.2f} %, top-5 {top5:.2f} %")


if __name__ == "__main__":
    run_tool(main)

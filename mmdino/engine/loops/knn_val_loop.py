"""Validation by nearest neighbours."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from mmengine.dist import all_gather, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, ValLoop
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mmdino.datasets.class_names import describe_other_classes
from mmdino.engine.precision import validates_under_autocast
from mmdino.engine.skipped_images import of_all_ranks, skipped_for
from mmdino.evaluation.bank_metric import label_of
from mmdino.evaluation.features import (
    collate_equal_shapes,
    extract_features,
    predict_features,
)
from mmdino.registry import LOOPS
from mmdino.utils.printable import printable

MAX_NAMED = 10


@LOOPS.register_module()
class KNNValLoop(ValLoop):
    """Builds a bank of labelled features, then validates against it.

    Works with any self-supervised model, of this project or of mmpretrain;
    :func:`~mmdino.evaluation.features.predict_features` says what its features are. All ranks
    share the work.

    Images that an ``ImageFolder`` without ``test_mode`` cannot read are left out of bank and
    queries, with a warning.

    Args:
        runner: The runner.
        dataloader: Loader of the queries, from ``val_dataloader``.
        evaluator: Evaluator from ``val_evaluator`` with a metric that takes a bank (``set_bank``):
            :class:`~mmdino.evaluation.KNNMetric` or :class:`~mmdino.evaluation.RidgeProbeMetric`.
        bank_dataloader: Loader of the labelled images that vote.
        fp16: Whether to compute features under autocast; "auto" does if training with
            ``precision="auto"`` does on this device.

    Raises:
        ValueError: If no metric of the evaluator takes a bank, bank and queries have other
            classes, or ``fp16`` is neither a bool nor "auto".

    Example:
        >>> val_cfg = dict(type="mmdino.KNNValLoop", bank_dataloader=dict(...))
        >>> val_evaluator = dict(type="mmdino.KNNMetric")
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        bank_dataloader: DataLoader | dict,
        fp16: bool | Literal["auto"] = False,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, validates_under_autocast(fp16))
        self.metrics = [m for m in self.evaluator.metrics if hasattr(m, "set_bank")]
        if not self.metrics:
            raise ValueError(
                "KNNValLoop needs val_evaluator = dict(type='mmdino.KNNMetric', ...), but the "
                f"evaluator has {[type(m).__name__ for m in self.evaluator.metrics]}."
            )
        self.bank_dataloader = runner.build_dataloader(bank_dataloader, seed=runner.seed)
        names = [
            getattr(loader.dataset, "metainfo", {}).get("classes")
            for loader in (self.bank_dataloader, self.dataloader)
        ]
        if difference := describe_other_classes(*names):
            raise ValueError(
                f"The k-NN bank and the query images have other classes: {difference}. Labels are "
                "places in the order of the classes: give val_cfg.bank_dataloader and "
                "val_dataloader folders with the same ones."
            )
        # Only there are the names of the files known to the error of a batch of mixed sizes.
        for loader in (self.dataloader, self.bank_dataloader):
            loader.collate_fn = partial(collate_equal_shapes, loader.collate_fn)
        self._skipped: dict[str, str] = {}
        self._told: set[str] = set()

    def run(self) -> dict:
        """Validates and returns the metrics."""
        self.runner.model.eval()
        features, labels = self.fill_bank()
        for metric in self.metrics:
            metric.set_bank(features, labels)
        self._skipped = {}
        metrics = super().run()
        self._warn_of(of_all_ranks(self._skipped), self.dataloader.dataset, "query images")
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Computes the features of a batch of queries and hands them to the evaluator."""
        self.runner.call_hook("before_val_iter", batch_idx=idx, data_batch=data_batch)
        samples = predict_features(self.runner.model, data_batch, self.fp16)
        self._skipped |= skipped_for(samples)
        self.evaluator.process(data_samples=samples, data_batch=data_batch)
        self.runner.call_hook(
            "after_val_iter", batch_idx=idx, data_batch=data_batch, outputs=samples
        )

    def fill_bank(self) -> tuple[Tensor, Tensor]:
        """Computes the features of all bank images.

        Returns:
            Features (N, D) and labels (N,) in the order of the data set on the main process, empty
            tensors elsewhere. An image that a sampler repeats to fill up a rank counts once, one
            that cannot be read not at all.

        Raises:
            ValueError: If the loader leaves other images out.
        """
        dataset = self.bank_dataloader.dataset
        size = len(dataset)
        self.runner.logger.info(f"Computing the k-NN bank: features of {size} images.")
        features, labels = torch.empty(0), torch.empty(0, dtype=torch.int64)
        seen = torch.zeros(size, dtype=torch.bool)
        skipped = {}
        for part, samples in extract_features(self.runner.model, self.bank_dataloader, self.fp16):
            # What stands in for an unreadable image has the index of its own place.
            skipped |= skipped_for(samples)
            rows = [(int(sample.sample_idx), label_of(sample)) for sample in samples]
            parts = all_gather(part)
            rows_of_parts = all_gather(torch.tensor(rows, device=part.device))
            for row in rows_of_parts:
                seen[row[:, 0].cpu()] = True
            if not is_main_process():
                continue
            if not len(features):
                features = part.new_empty(size, part.shape[1])
                labels = torch.empty(size, dtype=torch.int64, device=part.device)
            for values, row in zip(parts, rows_of_parts, strict=True):
                features[row[:, 0]] = values
                labels[row[:, 0]] = row[:, 1]
        skipped = of_all_ranks(skipped)
        left_out = (~seen).nonzero().flatten().tolist()
        unreadable = [i for i in left_out if skipped and _path_of(dataset, i) in skipped]
        if not size or len(unreadable) < len(left_out):
            raise ValueError(
                f"The loader of the k-NN bank gave {int(seen.sum())} of {size} images, each by its "
                "index in the data set. val_cfg.bank_dataloader needs drop_last=False, a sampler "
                "that gives every image, and a single data set with at least one image."
            )
        if unreadable and is_main_process():
            self._warn_of(skipped, dataset, "images of the bank")
            features, labels = features[seen], labels[seen]
        return features, labels

    def _warn_of(self, skipped: dict[str, str], dataset: Dataset, part: str) -> None:
        """Names images that could not be read, each once in a run."""
        new = {path: reason for path, reason in skipped.items() if path not in self._told}
        if not new:
            return
        self._told.update(new)
        named = [f"{printable(path)} {reason}" for path, reason in [*new.items()][:MAX_NAMED]]
        more = ", ..." if len(new) > MAX_NAMED else ""
        file = getattr(dataset, "list", None) or getattr(dataset, "ann_file", None)
        lines = f", and their lines in {printable(file)!r}" if file else ""
        self.runner.logger.warning(
            f"k-NN leaves out {len(new)} of {len(dataset)} {part}, which cannot be read: "
            f"{', '.join(named)}{more}. Repair or remove them{lines}."
        )


def _path_of(dataset: Dataset, index: int) -> str:
    return dataset.get_data_info(index)["img_path"]

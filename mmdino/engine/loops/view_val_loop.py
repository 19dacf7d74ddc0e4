"""Validation on several views of each image."""

from __future__ import annotations

from typing import Literal

import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, ValLoop
from torch.utils.data import DataLoader

from mmdino.engine.precision import validates_under_autocast
from mmdino.evaluation.features import predict_view_features
from mmdino.registry import LOOPS


@LOOPS.register_module()
class ViewValLoop(ValLoop):
    """Gives the evaluator the features of all views of each image.

    For metrics without labels, such as ``LabelFreeMetric``. Views are those of a pretraining
    pipeline, of one size; with ``EpochSampler(shuffle=False)`` each validation sees the same ones.
    Works with any self-supervised model, of this project or of mmpretrain.

    Args:
        runner: The runner.
        dataloader: Loader of the images, from ``val_dataloader``.
        evaluator: Evaluator from ``val_evaluator``.
        fp16: As in :class:`KNNValLoop`.

    Raises:
        TypeError: From the run, if the pipeline makes no views.
        ValueError: If ``fp16`` is neither a bool nor "auto"; from the run, if there are fewer than
            two views.

    Example:
        >>> val_cfg = dict(type="mmdino.ViewValLoop")
        >>> val_dataloader = dict(
        ...     batch_size=64, sampler=dict(type="mmdino.EpochSampler", shuffle=False, seed=0),
        ...     dataset=dict(type="mmdino.ImageFolder", data_root="data/my_images", pipeline=[
        ...         dict(type="LoadImageFromFile"),
        ...         dict(type="mmdino.MultiCropTransform", views=[
        ...             dict(num=4, size=224, scale=(0.25, 1.0))]),
        ...         dict(type="mmdino.PackViews")]))
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool | Literal["auto"] = False,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, validates_under_autocast(fp16))

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Computes the features (V, D) of each image and hands them to the evaluator."""
        self.runner.call_hook("before_val_iter", batch_idx=idx, data_batch=data_batch)
        samples = predict_view_features(self.runner.model, data_batch, self.fp16)
        self.evaluator.process(data_samples=samples, data_batch=data_batch)
        self.runner.call_hook(
            "after_val_iter", batch_idx=idx, data_batch=data_batch, outputs=samples
        )

"""Validation on several views of each image."""

from __future__ import annotations

import torch
from mmengine.runner import ValLoop
from torch import Tensor

from mmdino.evaluation.features import predict_features
from mmdino.registry import LOOPS


@LOOPS.register_module()
class ViewValLoop(ValLoop):
    """Gives the evaluator the features of all views of each image.

    For metrics without labels, such as ``LabelFreeMetric``. Views are those of a pretraining
    pipeline, of one size; with ``EpochSampler(shuffle=False)`` each validation sees the same ones.
    Works with any self-supervised model, of this project or of mmpretrain.

    Raises:
        TypeError: From the run, if the pipeline makes no views.
        ValueError: From the run, if it makes fewer than two.

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

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Computes the features (V, D) of each image and hands them to the evaluator."""
        self.runner.call_hook("before_val_iter", batch_idx=idx, data_batch=data_batch)
        views = data_batch["inputs"]
        if isinstance(views, Tensor) or not isinstance(views[0], Tensor) or views[0].dim() != 4:
            raise TypeError(
                "ViewValLoop needs a batch of views, but the pipeline gives one image each. Put "
                "dict(type='mmdino.MultiCropTransform', views=[...]) and "
                "dict(type='mmdino.PackViews') into the pipeline of val_dataloader, and "
                "collate_fn=dict(type='default_collate') into val_dataloader."
            )
        if len(views) < 2:
            raise ValueError(
                "ViewValLoop got one view of each image; it compares views. Set num of the group "
                "of views in the pipeline of val_dataloader to at least 2."
            )
        samples = data_batch.get("data_samples")
        features = []
        for view in views:
            batch = {"inputs": view, "data_samples": samples}
            samples = predict_features(self.runner.model, batch, self.fp16)
            features.append(torch.stack([sample.feature for sample in samples]))
        for sample, of_image in zip(samples, torch.stack(features, 1), strict=True):
            sample.set_field(of_image, "feature")
        self.evaluator.process(data_samples=samples, data_batch=data_batch)
        self.runner.call_hook(
            "after_val_iter", batch_idx=idx, data_batch=data_batch, outputs=samples
        )

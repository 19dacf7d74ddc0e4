"""Normalisation of uint8 views on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
LEVELS_16_TO_8 = 65535 / 255
OWN_KEYS = ("inputs", "data_samples")
CLEAN_VIEWS = "clean_views"
"""Undistorted crops, which are normalised as the views are."""


@MODELS.register_module()
class MultiViewPreprocessor(BaseDataPreprocessor):
    """Moves views to the device and normalises them there.

    Images are copied to the device as uint8, a quarter of the bytes of float32. 16-bit images, as
    an evaluation pipeline may load them, are scaled to 0 to 255.

    Args:
        mean: Mean of each channel, 0 to 255, in the order of the network's input (RGB for colour
            images). ImageNet's by default.
        std: Standard deviation of each channel, likewise.
        bgr_to_rgb: Whether to reverse the channels of three-channel images; OpenMMLab decodes BGR.
        non_blocking: Whether the copy to the device is asynchronous.

    Attributes:
        statistics: Mean and deviation of each channel, as given.

    Raises:
        ValueError: If ``mean`` and ``std`` differ in length or a deviation is not positive.

    Example:
        >>> # Eight-channel images, scaled to about [-1, 1]:
        >>> data_preprocessor = dict(
        ...     type="mmdino.MultiViewPreprocessor", mean=[127.5] * 8, std=[127.5] * 8)
    """

    def __init__(
        self,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        bgr_to_rgb: bool = True,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking)
        if len(mean) != len(std) or not mean:
            raise ValueError(
                f"MultiViewPreprocessor got mean={tuple(mean)} and std={tuple(std)}; it needs one "
                "of each per channel."
            )
        for channel, (center, deviation) in enumerate(zip(mean, std, strict=True)):
            require_number("MultiViewPreprocessor", f"mean[{channel}]", center)
            require_number("MultiViewPreprocessor", f"std[{channel}]", deviation, above=0)
        self.statistics = (tuple(mean), tuple(std))
        self.bgr_to_rgb = bgr_to_rgb and len(mean) == 3
        for name, values in {"mean": mean, "std": std}.items():
            buffer = torch.tensor(values, dtype=torch.get_default_dtype()).view(-1, 1, 1)
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalises a batch.

        Args:
            data: ``inputs``: in training a list of V views, each a tensor (B, C, H, W) or a list
                of B tensors (C, H, W); in evaluation one such tensor or list. ``data_samples``:
                list of B, optional.
            training: Whether ``inputs`` is a list of views.

        Returns:
            ``inputs`` as a list of V tensors (B, C, H, W) or, in evaluation, one tensor, in the
            dtype of ``mean``; ``data_samples`` unchanged; in training, what else the batch has,
            such as masks, on the device, of which ``clean_views`` are normalised too.

        Raises:
            ValueError: If there are no inputs, or the number of their channels differs from that of
                ``mean``.
            TypeError: If training inputs are not a list of views.
        """
        if "inputs" not in data:
            raise ValueError(
                f"A batch has no 'inputs', but {', '.join(map(str, data)) or 'nothing'}. End the "
                "pipeline of the data set with dict(type='mmdino.PackViews'), in evaluation with "
                "dict(type='PackInputs')."
            )
        data = self.cast_data(data)
        inputs = data["inputs"]
        if not training:
            batch = self._normalise(inputs)
        elif isinstance(inputs, (list, tuple)):
            batch = [self._normalise(view) for view in inputs]
        else:
            raise TypeError(
                f"Training needs a list of views, got a {type(inputs).__name__}. Put "
                "dict(type='mmdino.MultiCropTransform') before PackInputs in the pipeline."
            )
        extras = {key: value for key, value in data.items() if training and key not in OWN_KEYS}
        if CLEAN_VIEWS in extras:
            extras[CLEAN_VIEWS] = [self._normalise(view) for view in extras[CLEAN_VIEWS]]
        return {"inputs": batch, "data_samples": data.get("data_samples"), **extras}

    def _normalise(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        batch = images if isinstance(images, Tensor) else torch.stack(list(images))
        channels = len(self.mean)
        if batch.dim() != 4 or batch.shape[1] != channels:
            raise ValueError(
                f"MultiViewPreprocessor has mean and std of {channels} channel(s), but got images "
                f"(batch, channels, height, width) of shape {tuple(batch.shape)}. Set mean, std "
                "and the backbone's in_channels to the channels of the images."
            )
        if batch.dtype == torch.uint16:
            batch = batch.to(self.mean.dtype) / LEVELS_16_TO_8
        if self.bgr_to_rgb:
            batch = batch.flip(1)
        if batch.device.type != "cpu":
            return normalise_in_one_pass(batch, self.mean, self.std)
        return normalise(batch, self.mean, self.std)


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Returns ``(images - mean) / std`` for images (B, C, H, W), in the dtype of ``mean``."""
    return images.to(mean.dtype, copy=True).sub_(mean).div_(std)


def normalise_in_one_pass(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalises uint8 images by one multiply-add, in one pass over memory instead of three.

    In float32 it differs from :func:`normalise` by less than 1e-6 for ImageNet's mean and std.
    """
    if images.dtype != torch.uint8:
        return normalise(images, mean, std)
    scale = std.reciprocal()
    return torch.addcmul(-mean * scale, images, scale)

"""Stochastic depth in one pass over its input."""

from __future__ import annotations

import torch
from mmcv.cnn.bricks import DropPath
from torch import Tensor

from mmdino.models.layers.precision import HALF


class StochasticDepth(DropPath):
    """mmcv's ``DropPath`` with one division per sample, where that makes two passes.

    Dropped samples are divided by infinity, giving 0. The draws and, on a CPU, results and
    gradients are bit-equal. Half precision uses mmcv's own: a divisor in that precision would be
    off by up to 0.4 %.

    Args:
        drop_prob: Probability that a sample's path is dropped in training.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drops the paths of some samples of x (B, ...) and scales the others up."""
        if not self.training or self.drop_prob == 0 or x.dtype in HALF:
            return super().forward(x)
        keep_prob = 1 - self.drop_prob
        shape = (len(x),) + (1,) * (x.dim() - 1)
        kept = (keep_prob + torch.rand(shape, dtype=x.dtype, device=x.device)).floor()
        return x / (keep_prob / kept)

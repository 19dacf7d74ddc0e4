"""The prototypes: a bias-free linear layer with normalised rows."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdino.models.layers.precision import at_least_float32, no_autocast


class WeightNormLinear(nn.Module):
    """A bias-free linear layer whose rows are ``weight_g * weight_v / ||weight_v||``.

    It computes what ``torch.nn.utils.parametrizations.weight_norm`` does. It is a module of its own
    because its parameters then have the names of the authors' checkpoints, and because the norm is
    taken in float32 under autocast.

    Args:
        in_features: Width D of the input.
        out_features: Number K of rows, the prototypes.
        train_gain: Whether ``weight_g`` (K, 1), which starts at 1, is trained.
    """

    def __init__(self, in_features: int, out_features: int, train_gain: bool) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(out_features, 1), requires_grad=train_gain)
        self.weight_v = nn.Parameter(torch.empty(out_features, in_features))
        # The start of a plain nn.Linear: only the direction of a row counts in the forward pass,
        # but its length sets how fast an optimiser step turns it.
        nn.init.kaiming_uniform_(self.weight_v, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, D) to logits (B, K)."""
        with no_autocast(x):
            direction = functional.normalize(at_least_float32(self.weight_v), dim=1)
            weight = at_least_float32(self.weight_g) * direction
        return functional.linear(x, weight)

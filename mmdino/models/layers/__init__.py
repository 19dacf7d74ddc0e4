"""Layers and arithmetic that the networks share."""

from mmdino.models.layers.precision import at_least_float32, no_autocast
from mmdino.models.layers.sync_batch_norm import (
    SYNCHRONISED,
    CPUSyncBatchNorm,
    synchronise_batch_norm,
)
from mmdino.models.layers.weight_norm_linear import WeightNormLinear

__all__ = [
    "SYNCHRONISED",
    "CPUSyncBatchNorm",
    "WeightNormLinear",
    "at_least_float32",
    "no_autocast",
    "synchronise_batch_norm",
]

"""Schedulers of the optimiser's parameters."""

from mmdino.engine.schedulers.cosine_weight_decay import CosineWeightDecay
from mmdino.engine.schedulers.warmup_cosine_lr import WarmupCosineLR

__all__ = ["CosineWeightDecay", "WarmupCosineLR"]

"""Samplers."""

from mmdino.datasets.samplers.epoch_sampler import EpochSampler
from mmdino.datasets.samplers.seeded_index import SeededIndex

__all__ = ["EpochSampler", "SeededIndex"]

"""Data sets, samplers and transforms."""

from mmdino.datasets.drawn_shapes import DrawnShapes
from mmdino.datasets.image_folder import ImageFolder
from mmdino.datasets.samplers import EpochSampler
from mmdino.datasets.transforms import MultiCropTransform

__all__ = ["DrawnShapes", "EpochSampler", "ImageFolder", "MultiCropTransform"]

"""Transforms."""

from mmdino.datasets.transforms.check_seg_map import CheckSegMap
from mmdino.datasets.transforms.ignore_seg_ids import IgnoreSegIds
from mmdino.datasets.transforms.multi_crop import MultiCropTransform

__all__ = ["CheckSegMap", "IgnoreSegIds", "MultiCropTransform"]

"""Pipeline steps of the scope ``mmdino``."""

from mmdino.datasets.transforms.multi_crop import MultiCropTransform
from mmdino.datasets.transforms.view_group import PAPER_VIEWS, ViewGroup

__all__ = ["PAPER_VIEWS", "MultiCropTransform", "ViewGroup"]

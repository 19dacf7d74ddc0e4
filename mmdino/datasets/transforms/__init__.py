"""Pipeline transforms."""

from mmdino.datasets.transforms.check_seg_map import CheckSegMap
from mmdino.datasets.transforms.ignore_seg_ids import IgnoreSegIds
from mmdino.datasets.transforms.load_image import LoadImage
from mmdino.datasets.transforms.multi_crop import MultiCropTransform
from mmdino.datasets.transforms.pack_views import PackViews
from mmdino.datasets.transforms.views.group import PAPER_VIEWS, ViewGroup

__all__ = [
    "PAPER_VIEWS",
    "CheckSegMap",
    "IgnoreSegIds",
    "LoadImage",
    "MultiCropTransform",
    "PackViews",
    "ViewGroup",
]

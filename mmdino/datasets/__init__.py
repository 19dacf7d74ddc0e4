"""Data sets, samplers and transforms."""

from mmdino.datasets.image_folder import ImageFolder
from mmdino.datasets.masked_collate import collate_with_block_masks
from mmdino.datasets.readers import read_dicom, read_tiff
from mmdino.datasets.samplers import EpochSampler
from mmdino.datasets.synthetic_shapes.drawn_shapes import DrawnShapes
from mmdino.datasets.tar_shards import TarShards
from mmdino.datasets.transforms import (
    CheckSegMap,
    IgnoreSegIds,
    LoadImage,
    MultiCropTransform,
    PackViews,
)
from mmdino.datasets.voc_objects import VOCObjects

__all__ = [
    "CheckSegMap",
    "DrawnShapes",
    "EpochSampler",
    "IgnoreSegIds",
    "ImageFolder",
    "LoadImage",
    "MultiCropTransform",
    "PackViews",
    "TarShards",
    "VOCObjects",
    "collate_with_block_masks",
    "read_dicom",
    "read_tiff",
]

"""Photographs with object masks in the layout of PASCAL VOC 2012."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from PIL import Image

from mmdino.registry import DATASETS

CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
VOID = 255
"""Id of pixels that are neither object nor ground."""

FOLDERS = {
    "class": "SegmentationClass",
    "instance": "SegmentationObject",
    "foreground": "SegmentationClass",
}
LAYOUT = """\
JPEGImages/2007_000033.jpg
SegmentationClass/2007_000033.png   (or SegmentationObject/, for instances)
ImageSets/Segmentation/val.txt      (one name a line, such as 2007_000033)"""


@DATASETS.register_module()
class VOCObjects(BaseDataset):
    """Images and object masks of PASCAL VOC 2012, or of any data in its layout.

    ::

        data_root/
            JPEGImages/2007_000033.jpg
            SegmentationClass/2007_000033.png
            SegmentationObject/2007_000033.png     only for instances
            ImageSets/Segmentation/val.txt         one name a line

    Masks are PNGs whose palette is for the eye; the indices are read. A sample has ``img_path`` and
    ``gt_seg_map``, uint8 (H, W): 0 for the ground, 255 for void, any other id for an object, and
    ``seg_fields`` and ``ori_shape``. The image is left to the pipeline.

    Args:
        data_root: Folder of the data, such as ``VOCdevkit/VOC2012``.
        split: Name of the file in ``ImageSets/Segmentation``.
        objects: What an object is: ``"class"``, all that an image has of one class (ids 1 to 20);
            ``"instance"``, each by itself; or ``"foreground"``, all classes together (id 1).
        **kwargs: Other arguments of mmpretrain's ``BaseDataset``, such as ``pipeline`` and
            ``indices``.

    Raises:
        FileNotFoundError: If the folder, the list or a file in it is missing.
        ValueError: If ``objects`` is unknown; when a sample is read, if a mask has no indices or
            unknown ones.

    Example:
        >>> dataset = dict(type="mmdino.VOCObjects", data_root="data/VOCdevkit/VOC2012")
    """

    METAINFO = {"classes": CLASSES}

    def __init__(
        self, data_root: str, split: str = "val", objects: str = "class", **kwargs: Any
    ) -> None:
        if objects not in FOLDERS:
            raise ValueError(
                f"VOCObjects got objects={objects!r}; it must be one of {', '.join(FOLDERS)}."
            )
        self.split = split
        self.objects = objects
        super().__init__(ann_file="", data_root=str(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Lists the images, and checks that each and its mask are there."""
        root = Path(self.data_root)
        listing = root / "ImageSets" / "Segmentation" / f"{self.split}.txt"
        if not listing.is_file():
            raise FileNotFoundError(missing(listing))
        samples = []
        for name in listing.read_text().split():
            image = root / "JPEGImages" / f"{name}.jpg"
            mask = root / FOLDERS[self.objects] / f"{name}.png"
            for path in (image, mask):
                if not path.is_file():
                    raise FileNotFoundError(missing(path))
            samples.append(dict(img_path=str(image), seg_map_path=str(mask)))
        if not samples:
            raise FileNotFoundError(f"{listing} names no image.")
        return samples

    def get_data_info(self, idx: int) -> dict:
        """Returns a sample before the pipeline; see the class for its keys."""
        sample = super().get_data_info(idx)
        largest = len(CLASSES) if self.objects != "instance" else VOID - 1
        seg_map = read_seg_map(sample["seg_map_path"], largest)
        if self.objects == "foreground":
            seg_map[(seg_map != 0) & (seg_map != VOID)] = 1
        sample["gt_seg_map"] = seg_map
        sample["seg_fields"] = ["gt_seg_map"]
        sample["ori_shape"] = seg_map.shape
        return sample

    def extra_repr(self) -> list[str]:
        """Says what is read."""
        return [f"Split: \t{self.split}", f"Objects: \t{self.objects}"]


def read_seg_map(path: str, largest: int) -> np.ndarray:
    """Reads the ids of a mask.

    Args:
        path: Path of a PNG with a palette, or grey.
        largest: Largest id that an object may have.

    Returns:
        Ids (H, W), uint8.

    Raises:
        ValueError: If the file has colours in place of indices, or unknown ids.
    """
    with Image.open(path) as image:
        if image.mode not in ("P", "L"):
            raise ValueError(
                f"The mask {path} has mode {image.mode}, colours and no indices. Store masks as "
                "PNG with a palette, or grey, in which the value of a pixel is its id."
            )
        seg_map = np.array(image)
    unknown = np.setdiff1d(seg_map, [*range(largest + 1), VOID])
    if unknown.size:
        raise ValueError(
            f"The mask {path} has unknown ids: {', '.join(map(str, unknown))}. Known are 0 "
            f"(ground), 1 to {largest} (objects) and {VOID} (void)."
        )
    return seg_map


def missing(path: Path) -> str:
    """Says what is missing, and what is expected."""
    return (
        f"{path} does not exist. data_root is to be a folder in the layout of PASCAL VOC 2012, "
        f"such as VOCdevkit/VOC2012:\n{LAYOUT}"
    )

"""Images with object masks in the layout of PASCAL VOC 2012."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset
from PIL import Image

from mmdino.datasets.image_check import image_fault
from mmdino.registry import DATASETS
from mmdino.utils.printable import printable

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
"""Id of pixels that are neither object nor background."""

FOLDERS = {
    "class": "SegmentationClass",
    "instance": "SegmentationObject",
    "foreground": "SegmentationClass",
}
LAYOUT = """\
JPEGImages/2007_000033.jpg
SegmentationClass/2007_000033.png   (or SegmentationObject/, for instances)
ImageSets/Segmentation/val.txt      (one name per line, such as 2007_000033)"""


@DATASETS.register_module()
class VOCObjects(BaseDataset):
    """Images and object masks of PASCAL VOC 2012, or of any data in its layout.

    ::

        data_root/
            JPEGImages/2007_000033.jpg
            SegmentationClass/2007_000033.png
            SegmentationObject/2007_000033.png     only for instances
            ImageSets/Segmentation/val.txt         one name per line

    Masks are palette or greyscale PNGs whose pixel values are the ids. A sample has ``img_path``,
    ``gt_seg_map`` (uint8 of shape (H, W); 0 is background, 255 void, any other id an object),
    ``seg_fields`` and ``ori_shape``. The pipeline loads the image.

    Args:
        data_root: Folder of the data, such as ``VOCdevkit/VOC2012``.
        split: Name of the list in ``ImageSets/Segmentation``, without its suffix.
        objects: What counts as one object: ``"class"``, all pixels of a class in an image (ids 1 to
            20); ``"instance"``, each instance (ids 1 to 254); or ``"foreground"``, all objects of
            an image together (id 1).
        **kwargs: Other arguments of mmpretrain's ``BaseDataset``, such as ``pipeline`` and
            ``indices``.

    Raises:
        FileNotFoundError: If the list, or an image or mask in it, is missing.
        ValueError: If ``objects`` is unknown, or, when a sample is read, if its mask is in colour
            or has unknown ids.

    Example:
        >>> dataset = dict(type="mmdino.VOCObjects", data_root="data/VOCdevkit/VOC2012")
    """

    METAINFO = {"classes": CLASSES}

    def __init__(
        self, data_root: str, split: str = "val", objects: str = "class", **kwargs: Any
    ) -> None:
        if objects not in FOLDERS:
            raise ValueError(
                f"invalid objects={objects!r} of VOCObjects: expected one of {', '.join(FOLDERS)}."
            )
        self.split = split
        self.objects = objects
        super().__init__(ann_file="", data_root=str(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Lists the images and checks that each image and mask exists."""
        root = Path(self.data_root)
        listing = root / "ImageSets" / "Segmentation" / f"{self.split}.txt"
        if not listing.is_file():
            raise FileNotFoundError(_missing_message(listing))
        samples = []
        # As the names of files are read, so that those that are no UTF-8 can be listed.
        for name in os.fsdecode(listing.read_bytes()).split():
            image = root / "JPEGImages" / f"{name}.jpg"
            mask = root / FOLDERS[self.objects] / f"{name}.png"
            for path in (image, mask):
                if not path.is_file():
                    raise FileNotFoundError(_missing_message(path))
            samples.append(dict(img_path=str(image), seg_map_path=str(mask)))
        if not samples:
            raise FileNotFoundError(f"{listing} lists no images.")
        return samples

    def get_data_info(self, idx: int) -> dict:
        """Returns a sample before the pipeline, with the keys that the class names."""
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
        """Returns the lines that ``repr`` adds."""
        return [f"Split: \t{self.split}", f"Objects: \t{self.objects}"]


def read_seg_map(path: str, largest: int) -> np.ndarray:
    """Reads the ids (H, W) uint8 of a palette or greyscale PNG.

    Raises:
        ValueError: If the file cannot be read, is in colour, or has an id other than 0 to
            ``largest`` and void.
    """
    try:
        if fault := image_fault(path):
            raise ValueError(f"it {fault}")
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(
            f"The mask {printable(path)} cannot be read ({error}). Repair it."
        ) from error
    with image:
        if image.mode not in ("P", "L"):
            raise ValueError(
                f"The mask {path} has mode {image.mode}: expected a palette (P) or greyscale (L) "
                "PNG whose pixel values are the ids."
            )
        seg_map = np.array(image)
    unknown = np.setdiff1d(seg_map, [*range(largest + 1), VOID])
    if unknown.size:
        raise ValueError(
            f"The mask {path} has unknown ids: {', '.join(map(str, unknown))}. Valid are 0 "
            f"(background), 1 to {largest} (objects) and {VOID} (void)."
        )
    return seg_map


def _missing_message(path: Path) -> str:
    return (
        f"{printable(path)} does not exist. Set data_root to a folder in the layout of PASCAL "
        f"VOC 2012, such as VOCdevkit/VOC2012:\n{LAYOUT}"
    )

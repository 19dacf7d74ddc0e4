"""A small labelled data set of synthetic images."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from mmpretrain.datasets import BaseDataset

from mmdino.datasets.synthetic_shapes.shape_painter import KINDS, draw_pose, paint_shape
from mmdino.registry import DATASETS

SPLITS = ("train", "val", "test")
SEG_MAPS = ("object", "class")
SMALLEST_IMAGE = 16


@DATASETS.register_module()
class DrawnShapes(BaseDataset):
    """Images of one shape on a multicoloured background, with labels and exact masks.

    The ten classes differ in contour and inner pattern; position, size, rotation and colours are
    random, see ``shape_painter.py``. An image depends only on ``seed``, ``split`` and its index, so
    a larger set starts with the images of a smaller one. Each block of ten images contains each
    class once.

    All images are drawn at initialisation, which takes about 0.5 ms and 16 KiB each at 64 pixels.

    A sample has ``img``, uint8 (S, S, 3) in BGR; ``gt_label``, an int; ``gt_seg_map``, uint8
    (S, S); ``seg_fields``, ``img_shape``, ``ori_shape``, ``sample_idx`` (the index object passed
    in), ``img_id`` (the index before any subset) and ``img_path`` (a name, not a file). No loading
    transform is needed.

    Args:
        num_images: Number of images.
        image_size: Side S of the images, in pixels.
        seed: Seed of the data set.
        split: ``"train"``, ``"val"`` or ``"test"``, three disjoint sets.
        seg_map: Value of ``gt_seg_map`` on the shape: 1 for ``"object"``, the label plus 1 for
            ``"class"``. It is 0 elsewhere.
        **kwargs: Other arguments of mmpretrain's ``BaseDataset``, such as ``pipeline``,
            ``test_mode``, ``indices`` and ``lazy_init``.

    Raises:
        TypeError: If a number is not an integer.
        ValueError: If an argument is out of range.

    Example:
        >>> dataset = dict(
        ...     type="mmdino.DrawnShapes", num_images=2000, split="train",
        ...     pipeline=[dict(type="mmdino.MultiCropTransform", views=[...]),
        ...               dict(type="mmdino.PackViews")])
    """

    METAINFO = {"classes": tuple(KINDS)}

    def __init__(
        self,
        num_images: int = 2000,
        image_size: int = 64,
        seed: int = 0,
        split: str = "train",
        seg_map: str = "object",
        **kwargs: Any,
    ) -> None:
        self.num_images = _check_integer("num_images", num_images, 1)
        self.image_size = _check_integer("image_size", image_size, SMALLEST_IMAGE)
        self.seed = _check_integer("seed", seed, 0)
        self.split = _check_choice("split", split, SPLITS)
        self.seg_map = _check_choice("seg_map", seg_map, SEG_MAPS)
        super().__init__(ann_file="", **kwargs)

    def load_data_list(self) -> list[dict]:
        """Draws the images and lists them."""
        key = (self.seed, SPLITS.index(self.split))
        labels = draw_labels(key, self.num_images, len(KINDS))
        drawn = [
            draw_image((*key, i), label, self.image_size) for i, label in enumerate(labels.tolist())
        ]
        self._images = np.stack([image for image, _ in drawn])
        self._masks = np.stack([mask for _, mask in drawn])
        return [
            dict(img_id=i, img_path=f"drawn_shapes/{self.split}/{i:06d}", gt_label=label)
            for i, label in enumerate(labels.tolist())
        ]

    def get_data_info(self, idx: int) -> dict:
        """Returns a sample before the pipeline, with copies of the arrays."""
        sample = super().get_data_info(idx)
        image_id, label = sample["img_id"], sample["gt_label"]
        value = 1 if self.seg_map == "object" else label + 1
        sample["img"] = self._images[image_id].copy()
        sample["img_shape"] = sample["ori_shape"] = (self.image_size, self.image_size)
        sample["gt_seg_map"] = self._masks[image_id] * np.uint8(value)
        sample["seg_fields"] = ["gt_seg_map"]
        return sample

    def extra_repr(self) -> list[str]:
        """Returns the lines that ``repr`` adds."""
        return [
            f"Split: \t{self.split}",
            f"Seed: \t{self.seed}",
            f"Image size: \t{self.image_size}",
        ]


def draw_labels(key: tuple[int, ...], num_images: int, num_classes: int) -> np.ndarray:
    """Draws labels (num_images,) such that each block of ``num_classes`` has each class once."""
    rng = np.random.default_rng(key)
    blocks = [rng.permutation(num_classes) for _ in range(0, num_images, num_classes)]
    return np.concatenate(blocks)[:num_images]


def draw_image(key: tuple[int, ...], label: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws an image of a class, seeded by ``key``; see :func:`paint_shape` for the result."""
    seeds = np.random.SeedSequence(key).spawn(3)
    pose_rng, object_rng, background_rng = (np.random.default_rng(seed) for seed in seeds)
    pose = draw_pose(pose_rng, size)
    return paint_shape(tuple(KINDS)[label], size, pose, object_rng, background_rng)


def _check_integer(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer of at least {least}, got {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}.")
    return int(value)


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")
    return value

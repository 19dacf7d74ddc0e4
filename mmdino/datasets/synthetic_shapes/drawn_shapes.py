"""A small labelled set of images that is drawn, not downloaded."""

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
    """Images of one shape on a many-coloured ground, with labels and exact masks.

    Ten kinds of shape differ by their contour and the pattern inside it; place, size, rotation and
    colours are random, see ``shape_painter.py``. An image depends on ``seed``, ``split`` and its
    index alone, so a larger set begins with the images of a smaller one. Every
    ten images from the first on hold each kind once.

    All images are drawn when the data set is initialised, which takes about half a millisecond and
    16 KiB each at 64 pixels, and are then shared with forked data loader workers.

    A sample has ``img``, uint8 (S, S, 3) in BGR; ``gt_label``, an int; ``gt_seg_map``, uint8
    (S, S); ``seg_fields``, ``img_shape``, ``ori_shape``, ``sample_idx`` (the very object that was
    asked for), ``img_id`` (its index before any subset was taken) and ``img_path`` (no file, but a
    name for messages). No loading transform is needed.

    Args:
        num_images: How many images there are.
        image_size: Side S of the images, in pixels.
        seed: Another seed makes another set.
        split: ``"train"``, ``"val"`` or ``"test"``: three sets that share no image.
        seg_map: What ``gt_seg_map`` tells: ``"object"`` for 1 on the shape and 0 elsewhere,
            ``"class"`` for the label plus 1 on the shape and 0 elsewhere.
        **kwargs: Other arguments of mmpretrain's ``BaseDataset``, such as ``pipeline``,
            ``test_mode``, ``indices`` and ``lazy_init``.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If an argument is outside of what is allowed.

    Example:
        >>> dataset = dict(
        ...     type="mmdino.DrawnShapes",
        ...     num_images=2000,
        ...     split="train",
        ...     pipeline=[dict(type="mmdino.MultiCropTransform", views=[...]),
        ...               dict(type="mmdino.PackViews")],
        ... )
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
        """Returns a sample before the pipeline; see the class for its keys.

        The arrays are the caller's own.
        """
        sample = super().get_data_info(idx)
        image_id, label = sample["img_id"], sample["gt_label"]
        value = 1 if self.seg_map == "object" else label + 1
        sample["img"] = self._images[image_id].copy()
        sample["img_shape"] = sample["ori_shape"] = (self.image_size, self.image_size)
        sample["gt_seg_map"] = self._masks[image_id] * np.uint8(value)
        sample["seg_fields"] = ["gt_seg_map"]
        return sample

    def extra_repr(self) -> list[str]:
        """Says what is drawn."""
        return [
            f"Split: \t{self.split}",
            f"Seed: \t{self.seed}",
            f"Image size: \t{self.image_size}",
        ]


def draw_labels(key: tuple[int, ...], num_images: int, num_classes: int) -> np.ndarray:
    """Draws labels of which every ``num_classes`` in a row hold each class once.

    Args:
        key: Seed of the draw.
        num_images: How many labels to draw.
        num_classes: How many classes there are.

    Returns:
        The labels, (num_images,) ints.
    """
    rng = np.random.default_rng(key)
    blocks = [rng.permutation(num_classes) for _ in range(0, num_images, num_classes)]
    return np.concatenate(blocks)[:num_images]


def draw_image(key: tuple[int, ...], label: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws an image of one kind of shape.

    Args:
        key: Seed of the draw.
        label: Index of the kind.
        size: Side S of the image, in pixels.

    Returns:
        The image, (S, S, 3) uint8 in BGR, and the mask of the shape, (S, S) bool.
    """
    seeds = np.random.SeedSequence(key).spawn(3)
    pose_rng, object_rng, ground_rng = (np.random.default_rng(seed) for seed in seeds)
    pose = draw_pose(pose_rng, size)
    return paint_shape(tuple(KINDS)[label], size, pose, object_rng, ground_rng)


def _check_integer(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer of at least {least}, but is {value!r}.")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, but is {value}.")
    return int(value)


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, but is {value!r}.")
    return value

"""The images of a folder, as feature banks take them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS

from mmdino.datasets.image_folder import ImageFolder, Unreadable
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.feature_bank import NO_CLASSES


class BankImages(ImageFolder):
    """Images with the labels of their folders, or all of one class. An unreadable one is black.

    It is recorded in a file, so that a set of millions with a few damaged files is embedded to the
    end, and they are left out of the bank.

    Args:
        crop: Side of the black image in pixels.
        with_label: Whether the first level of folders names the classes.
        **kwargs: Other arguments of :class:`ImageFolder`.
    """

    unreadable: str | Path = os.devnull
    """File that gets a line of JSON for each unreadable image."""

    def __init__(self, crop: int, with_label: bool = False, **kwargs: Any) -> None:
        self.crop = crop
        metainfo = None if with_label else {"classes": NO_CLASSES}
        super().__init__(metainfo=metainfo, with_label=with_label, test_mode=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Lists the images, with label 0 where there are no classes."""
        return [{"gt_label": 0, **image} for image in super().load_data_list()]

    def names(self) -> list[str]:
        """Returns the path of each image relative to the folder."""
        paths = (self.get_data_info(index)["img_path"] for index in range(len(self)))
        return [os.path.relpath(path, self.img_prefix) for path in paths]

    def __getitem__(self, index: int) -> dict:
        """Returns the sample of an image, black if it cannot be read."""
        sample = self._read(index)
        if not isinstance(sample, Unreadable):
            return sample
        name = os.path.relpath(sample.path, self.img_prefix)
        line = json.dumps({"image": name, "reason": sample.reason}) + "\n"
        # One write, as several workers append.
        with open(self.unreadable, "ab", buffering=0) as file:
            file.write(line.encode())
        black = np.zeros((self.crop, self.crop, 3), dtype=np.uint8)
        shape = black.shape[:2]
        sample = {**self.get_data_info(index), "img": black, "img_shape": shape, "ori_shape": shape}
        for transform in self.pipeline.transforms[1:]:
            sample = transform(sample)
        return sample


def evaluation_pipeline(options: ExtractionOptions) -> list[dict]:
    """Returns the transforms of the validation in training: shorter side, centre crop."""
    return [
        {"type": "LoadImageFromFile"},
        {
            "type": "ResizeEdge",
            "scale": options.size,
            "edge": "short",
            "backend": "pillow",
            "interpolation": "bicubic",
        },
        {"type": "CenterCrop", "crop_size": options.crop},
        {"type": "PackInputs"},
    ]


def all_images(
    folder: str | Path, options: ExtractionOptions, listed: str | None = None
) -> BankImages:
    """Builds the data set of the images below a folder, at any depth and without labels.

    Args:
        folder: The folder.
        options: Sizes, and which images to use.
        listed: File that lists the images to use, all if None.

    Raises:
        FileNotFoundError: If the folder is missing or holds no images.
    """
    return _build(folder, options, list=listed)


def labelled_images(
    folder: str | Path,
    options: ExtractionOptions,
    fraction: float = 1.0,
    fraction_seed: int = 0,
) -> BankImages:
    """Builds the data set of a folder with a folder of images for each class.

    Args:
        folder: The folder.
        options: Sizes, and which images to use.
        fraction: Fraction of the images of each class to use; see :class:`ImageFolder`.
        fraction_seed: Seed of that draw.

    Raises:
        FileNotFoundError: If the folder is missing or holds no images.
        ValueError: If a class has no image.
    """
    dataset = _build(
        folder, options, with_label=True, fraction=fraction, fraction_seed=fraction_seed
    )
    classes = dataset.metainfo["classes"]
    counts = np.bincount(dataset.get_gt_labels(), minlength=len(classes))
    empty = [name for name, count in zip(classes, counts, strict=True) if not count]
    if empty:
        raise ValueError(
            f"{len(empty)} of {len(classes)} classes of {str(folder)!r} have no image: "
            f"{', '.join(empty[:5])}. Remove their folders, or lower --every."
        )
    return dataset


def _build(folder: str | Path, options: ExtractionOptions, **more: Any) -> BankImages:
    return DATASETS.build(
        {
            "type": BankImages,
            "data_root": str(folder),
            "every": options.every,
            "crop": options.crop,
            "pipeline": evaluation_pipeline(options),
            **more,
        },
        default_args={"_scope_": "mmpretrain"},
    )

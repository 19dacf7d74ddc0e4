"""All images of a folder, as feature banks take them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS

from mmdino.datasets.image_folder import ImageFolder, Unreadable
from mmdino.evaluation.bank_extraction import ExtractionOptions, evaluation_pipeline

CLASS = "image"
"""The one class of all images, since a bank has labels."""


class AllImages(ImageFolder):
    """Images at any depth, of one class. An unreadable one is black, and recorded in a file.

    So a set of millions with a few damaged files is embedded to the end, and they are left out
    afterwards.

    Args:
        unreadable: File that gets a line of JSON for each unreadable image.
        crop: Side of the black image in pixels.
        **kwargs: Arguments of :class:`ImageFolder`, without labels.
    """

    def __init__(self, unreadable: str, crop: int, **kwargs: Any) -> None:
        self.unreadable = unreadable
        self.crop = crop
        super().__init__(metainfo={"classes": [CLASS]}, test_mode=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Lists the images, all with label 0."""
        return [{**image, "gt_label": 0} for image in super().load_data_list()]

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


def all_images(
    folder: str | Path, options: ExtractionOptions, unreadable: Path, listed: str | None = None
) -> AllImages:
    """Builds the data set of the images below a folder.

    Args:
        folder: The folder.
        options: Sizes, and which images to use.
        unreadable: File that records the images that cannot be read.
        listed: File that lists the images to use, all if None.

    Raises:
        FileNotFoundError: If the folder is missing or holds no images.
    """
    return DATASETS.build(
        {
            "type": AllImages,
            "data_root": str(folder),
            "every": options.every,
            "list": listed,
            "unreadable": str(unreadable),
            "crop": options.crop,
            "pipeline": evaluation_pipeline(options),
        },
        default_args={"_scope_": "mmpretrain"},
    )


def read_unreadable(path: Path) -> dict[str, str]:
    """Reads what :class:`AllImages` recorded: reasons by name. An unfinished line is ignored."""
    if not path.is_file():
        return {}
    lines = path.read_text().split("\n")[:-1]
    return {record["image"]: record["reason"] for record in map(json.loads, lines)}

"""The images of a folder or of tar shards, as feature banks take them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS

from mmdino.datasets.image_folder import ImageFolder, Unreadable
from mmdino.datasets.tar_backend import MemberAddress
from mmdino.datasets.tar_shards import TarShards
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.feature_bank import NO_CLASSES
from mmdino.evaluation.stored_input import ImageInput, resize_of, to_float

COLOR = ImageInput()


class BankImages(ImageFolder):
    """Images with the labels of their folders, or all of one class. An unreadable one is black.

    It is recorded in a file, so that a set of millions with a few damaged files is embedded to the
    end, and they are left out of the bank.

    Args:
        crop: Side of the black image in pixels.
        image_input: How images enter the network.
        with_label: Whether the first level of folders names the classes.
        **kwargs: Other arguments of :class:`ImageFolder`.
    """

    unreadable: str | Path = os.devnull
    """File that gets a line of JSON for each unreadable image."""

    def __init__(
        self, crop: int, image_input: ImageInput, with_label: bool = False, **kwargs: Any
    ) -> None:
        self.crop = crop
        self.image_input = image_input
        metainfo = None if with_label else {"classes": NO_CLASSES}
        super().__init__(metainfo=metainfo, with_label=with_label, test_mode=True, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Lists the images, with label 0 where there are no classes."""
        return [{"gt_label": 0, **image} for image in super().load_data_list()]

    def names(self) -> list[str]:
        """Returns the path of each image relative to the folder."""
        return [self.name_of(self.get_data_info(index)["img_path"]) for index in range(len(self))]

    def name_of(self, path: str) -> str:
        """Returns the path of an image relative to the folder."""
        return os.path.relpath(path, self.img_prefix)

    def __getitem__(self, index: int) -> dict:
        """Returns the sample of an image, black if it cannot be read."""
        sample = self._read(index)
        if not isinstance(sample, Unreadable):
            return sample
        line = json.dumps({"image": self.name_of(sample.path), "reason": sample.reason}) + "\n"
        # One write, as several workers append.
        with open(self.unreadable, "ab", buffering=0) as file:
            file.write(line.encode())
        channels = len(self.image_input.mean)
        black = np.zeros((self.crop, self.crop, channels), dtype=np.uint8)
        shape = black.shape[:2]
        sample = {**self.get_data_info(index), "img": black, "img_shape": shape, "ori_shape": shape}
        for transform in self.pipeline.transforms[1:]:
            sample = transform(sample)
        return sample


class BankShards(BankImages, TarShards):
    """The images of tar shards; with labels, the class indices in them.

    Args:
        **kwargs: Arguments of :class:`BankImages` and :class:`TarShards`.
    """

    def load_data_list(self) -> list[dict]:
        """Lists the images."""
        images = super().load_data_list()
        if self.with_label and self.CLASSES is None:
            number = 1 + max(image["gt_label"] for image in images)
            self._metainfo["classes"] = tuple(map(str, range(number)))
        return images

    def name_of(self, path: str) -> str:
        """Returns the path of an image through its shard, relative to the folder."""
        member = MemberAddress.parse(path)
        shard = os.path.relpath(member.shard, self.img_prefix)
        return os.path.normpath(os.path.join(shard, member.name))


def evaluation_pipeline(options: ExtractionOptions, image_input: ImageInput = COLOR) -> list:
    """Returns the transforms of the validation in training: shorter side, centre crop."""
    options = options.with_sizes(image_input.size, image_input.crop)
    resize = {"type": "ResizeEdge", "scale": options.size, "edge": "short"}
    crop = {"type": "CenterCrop", "crop_size": options.crop}
    if image_input.is_color:
        resize |= {"backend": "pillow", "interpolation": "bicubic"}
        return [dict(image_input.load), resize, crop, {"type": "PackInputs"}]
    resize |= resize_of(len(image_input.mean))
    return [dict(image_input.load), resize, crop, {"type": "PackInputs"}, to_float]


def all_images(
    folder: str | Path,
    options: ExtractionOptions,
    listed: str | None = None,
    image_input: ImageInput = COLOR,
) -> BankImages:
    """Builds the data set of the images below a folder, at any depth and without labels.

    Args:
        folder: The folder.
        options: Sizes, and which images to use.
        listed: File that lists the images to use, all if None.
        image_input: How images enter the network.

    Raises:
        FileNotFoundError: If the folder is missing or holds no images.
    """
    return _build(folder, options, image_input, list=listed)


def labelled_images(
    folder: str | Path,
    options: ExtractionOptions,
    fraction: float = 1.0,
    fraction_seed: int = 0,
    image_input: ImageInput = COLOR,
) -> BankImages:
    """Builds the data set of a folder with a folder of images for each class.

    Args:
        folder: The folder.
        options: Sizes, and which images to use.
        fraction: Fraction of the images of each class to use; see :class:`ImageFolder`.
        fraction_seed: Seed of that draw.
        image_input: How images enter the network.

    Raises:
        FileNotFoundError: If the folder is missing or holds no images.
        ValueError: If a class has no image.
    """
    dataset = _build(
        folder,
        options,
        image_input,
        with_label=True,
        fraction=fraction,
        fraction_seed=fraction_seed,
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


def images_of_shards(
    folder: str | Path,
    shards: str,
    options: ExtractionOptions,
    image_input: ImageInput = COLOR,
    **labels: Any,
) -> BankShards:
    """Builds the data set of the images in tar shards.

    Args:
        folder: Folder that names are relative to.
        shards: Pattern of the files in it.
        options: Sizes, and which images to use.
        image_input: How images enter the network.
        **labels: ``with_label``, ``fraction`` and ``fraction_seed`` of :class:`TarShards`.

    Raises:
        FileNotFoundError: If no shard matches.
        ValueError: If one is damaged, or has no image or no label.
    """
    return _build(folder, options, image_input, type=BankShards, shards=shards, **labels)


def _build(
    folder: str | Path, options: ExtractionOptions, image_input: ImageInput, **more: Any
) -> BankImages:
    options = options.with_sizes(image_input.size, image_input.crop)
    return DATASETS.build(
        {
            "type": BankImages,
            "data_root": str(folder),
            "every": options.every,
            "crop": options.crop,
            "image_input": image_input,
            "extensions": image_input.extensions,
            "pipeline": evaluation_pipeline(options, image_input),
            **more,
        },
        default_args={"_scope_": "mmpretrain"},
    )

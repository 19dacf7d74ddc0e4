"""Any folder tree of images, with or without labels."""

from __future__ import annotations

import logging
import struct
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import cv2
from mmengine.fileio import get_file_backend
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from PIL import Image

from mmdino.datasets.annotation_file import describe_repeated, read_annotations
from mmdino.datasets.balanced_subset import balanced_subset
from mmdino.datasets.folder_listing import LeftOut, list_classes, list_images
from mmdino.datasets.image_check import MAX_PIXELS, image_fault
from mmdino.datasets.image_list import check_listed_files, read_image_list
from mmdino.datasets.image_table import are_names, classes_of, is_table, read_image_table
from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.registry import DATASETS
from mmdino.utils.printable import printable

EXTENSIONS = tuple(
    extension
    for extension in (
        *(".avif", ".bmp", ".dib", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
        *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    )
    # OpenCV has an encoder for what it can decode, and which formats depends on its build.
    if cv2.haveImageWriter(f"image{extension}")
)
"""Extensions of images that mmcv's loader reads; of a moving image it reads the first one."""

TIFF = (".tif", ".tiff")

LOADING_ERRORS = (
    *(AssertionError, OSError, SyntaxError, ValueError, struct.error),
    *(cv2.error, Image.DecompressionBombError),
)
"""What loaders and their backends raise of a file that they cannot decode."""


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """mmpretrain's ``CustomDataset``, tolerant of unreadable images in training.

    Without labels every image below the folder is used, at any depth. With labels the first level
    of folders names the classes, or ``ann_file`` has lines of file name and class index.
    ``list`` names a file of paths, such as ``tools/curate.py`` writes: these images are used, in
    its order. It is a text file, or a table (CSV or Parquet), which may have labels.

    What is left out, such as files with other extensions, hidden files and folders, and dangling
    links, is logged once. A folder that links lead to again, as in a loop, is read once.

    In training an unreadable image is replaced by the next one, and its path recorded in the
    sample's ``skipped_paths``, with the reasons in ``skipped_reasons``; ``UnreadableImagesHook``
    logs and counts them. In test mode an unreadable image is an error. Local files are checked
    before they are decoded, so that a small file that decodes to an enormous image counts as
    unreadable, and takes no memory.

    Args:
        data_root: The folder.
        with_label: Whether to read labels.
        every: Use every n-th image in the order of the names.
        fraction: Use this fraction of the images of each class, at least one; see
            :func:`~mmdino.datasets.balanced_subset.balanced_subset`. 0.01 and 0.1 are the usual
            few-label settings.
        fraction_seed: Seed of that draw.
        hold_out: Leave out this many images, evenly spaced in the order of the names, for a
            validation without labels.
        held_out: Use these images, and not the others.
        max_refetch: Maximum number of consecutive unreadable images.
        max_pixels: Maximum number of pixels of an image; one with more is not decoded. None for no
            limit but OpenCV's.
        extensions: Extensions of images, in lower or upper case.
        list: File of the images to use, relative to ``data_root`` (and the ``img_path`` of
            ``data_prefix``): one a line, or with the suffix .csv, .tsv, .parquet or .pq a row of a
            table. The path of the file itself is relative to the current directory. An image that
            is listed twice is used twice, which is logged.
        path_column: Column of a table that has the paths. May be left out where one column alone
            has a usual name, such as "path", "file_name" or "image".
        label_column: Column of a table that has the labels, which are read ``with_label``: class
            indices, or names of classes. Likewise, such as "label", "class" or "target".
        **kwargs: Other arguments of mmpretrain's ``CustomDataset``.

    Raises:
        FileNotFoundError: If the folder is missing or contains no images, or lacks a listed one.
        OSError: If the folder cannot be read.
        TypeError: If an argument has the wrong type.
        ValueError: If ``every``, ``fraction``, ``fraction_seed``, ``hold_out`` or ``max_pixels`` is
            out of range, a class is empty, the annotation file or the list is invalid, or a list is
            combined with labels that it does not have.

    Example:
        >>> dataset = dict(type="mmdino.ImageFolder", data_root="data/my_images", pipeline=[...])
    """

    def __init__(
        self,
        data_root: str = "",
        with_label: bool = False,
        every: int = 1,
        fraction: float = 1.0,
        fraction_seed: int = 0,
        hold_out: int = 0,
        held_out: bool = False,
        max_refetch: int = 100,
        max_pixels: int | None = MAX_PIXELS,
        extensions: Sequence[str] = EXTENSIONS,
        list: str | None = None,
        path_column: str | None = None,
        label_column: str | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(every, Integral) or every < 1:
            raise ValueError(
                f"invalid every={every!r} of ImageFolder: expected an integer of at least 1 (all "
                "images)."
            )
        least = 1 if held_out else 0
        if not isinstance(hold_out, Integral) or isinstance(hold_out, bool) or hold_out < least:
            raise ValueError(
                f"invalid hold_out={hold_out!r} of ImageFolder: expected a number of images of at "
                f"least {least}{', of which held_out=True takes all' if held_out else ''}."
            )
        if max_pixels is not None and not 1 <= max_pixels <= MAX_PIXELS:
            raise ValueError(
                f"invalid max_pixels={max_pixels} of ImageFolder: expected 1 to {MAX_PIXELS}, or "
                "None for no limit but OpenCV's."
            )
        if isinstance(extensions, str):
            raise TypeError(
                f"invalid extensions={extensions!r} of ImageFolder: expected a list such as "
                f"['{extensions}']."
            )
        if fraction != 1 and not with_label:
            raise ValueError(
                f"ImageFolder got fraction={fraction} without labels, but the fraction is taken of "
                "each class. Set with_label=True, or use every n-th image with every=n."
            )
        if list is not None and (kwargs.get("ann_file") or (with_label and not is_table(list))):
            raise ValueError(
                f"ImageFolder got list={list!r} together with labels, but a list of lines has "
                "none. Use ann_file with lines 'file class', or a CSV or Parquet list with a "
                "column of labels, or leave out with_label and ann_file."
            )
        if (path_column or label_column) and (list is None or not is_table(list)):
            raise ValueError(
                f"ImageFolder got path_column={path_column!r}, label_column={label_column!r} and "
                f"list={list!r}, but only a list with the suffix .csv, .tsv, .parquet or .pq has "
                "columns."
            )
        self.list = list
        self.path_column = path_column
        self.label_column = label_column
        self.every = every
        self.fraction = fraction
        self.fraction_seed = fraction_seed
        self.hold_out = hold_out
        self.held_out = held_out
        self.max_pixels = max_pixels
        super().__init__(
            data_root=data_root,
            with_label=with_label,
            max_refetch=max_refetch,
            extensions=extensions,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Lists the images.

        Raises:
            FileNotFoundError: If the folder or the annotation file is missing or has no images.
            OSError: If the folder cannot be read.
            ValueError: If a class has no image, or the annotation file is invalid.
        """
        images = self._all_images()
        where = self.img_prefix.rstrip("/") or "/"
        if self.every > len(images):
            raise ValueError(
                f"invalid every={self.every} of {type(self).__name__}: {where!r} has {len(images)} "
                "image(s). Lower it; 1 takes all."
            )
        images = images[:: self.every]
        if self.fraction != 1:
            labels = [image["gt_label"] for image in images]
            images = [images[i] for i in balanced_subset(labels, self.fraction, self.fraction_seed)]
        if self.hold_out >= len(images):
            raise ValueError(
                f"invalid hold_out={self.hold_out} of {type(self).__name__}: {where!r} has "
                f"{len(images)} image(s), of which some must be left for training. Lower it."
            )
        apart = set(evenly_spaced(len(images), self.hold_out))
        return [image for i, image in enumerate(images) if (i in apart) == self.held_out]

    def _all_images(self) -> list[dict]:
        """Lists path, and label if there are any, of each image there is."""
        folder = self.img_prefix.rstrip("/") or "/"
        if _is_local(folder):
            _require_folder(folder)
        if self.list is not None:
            rows = self._listed(folder)
        else:
            rows = self._annotated() if self.ann_file else self._found(folder)
        join = get_file_backend(self.img_prefix, enable_singleton=True).join_path
        images = [{"img_path": join(self.img_prefix, name)} for name, _ in rows]
        if self.with_label:
            for image, (_, label) in zip(images, rows, strict=True):
                image["gt_label"] = label
            if not self.ann_file and self.list is None:
                self._check_no_empty_class(images)
        return images

    def _listed(self, folder: str) -> Sequence[tuple[str, int | None]]:
        """Reads names, and labels if there are any, from the list."""
        if is_table(self.list):
            names, labels = read_image_table(
                self.list, folder, self.path_column, self.label_column, self.with_label
            )
        else:
            names, labels = read_image_list(self.list), None
        if _is_local(folder):
            check_listed_files(names, folder, self.list)
        if labels is None:
            rows = [(name, None) for name in names]
        else:
            if self.CLASSES is None and are_names(labels):
                self._metainfo["classes"] = tuple(sorted(set(labels)))
            rows = [*zip(names, classes_of(labels, self.CLASSES, self.list), strict=True)]
        if repeated := describe_repeated(rows):
            _warn(f"{printable(self.list)}: {repeated}. It is used as often.")
        return rows

    def _annotated(self) -> list[tuple[str, int | None]]:
        """Reads names and labels from the annotation file."""
        if _is_local(self.ann_file) and not Path(self.ann_file).is_file():
            raise FileNotFoundError(
                f"The annotation file {self.ann_file!r} does not exist. Its lines are "
                "'file class'; omit ann_file to use the folder names as classes."
            )
        rows = read_annotations(self.ann_file, self.with_label, self.CLASSES)
        if repeated := describe_repeated(rows):
            _warn(f"{printable(self.ann_file)}: {repeated}.")
        return rows

    def _found(self, folder: str) -> list[tuple[str, int | None]]:
        """Lists names in the folder, and labels by the folders of the first level."""
        try:
            samples = self._find_samples()
        except RuntimeError as error:
            layout = "folder/class_name/image" if self.with_label else "folder/**/image"
            raise FileNotFoundError(
                f"No image in {folder!r} (expected {layout} with one of the extensions "
                f"{', '.join(sorted(self.extensions))}). Check the path, or set extensions=(...)."
            ) from error
        return samples if self.with_label else [(name, None) for name in samples]

    def _find_samples(self) -> list[tuple[str, int]] | list[str]:
        """Lists what mmpretrain's method does in the same order, and logs what it leaves out.

        Of a local folder these are hidden folders too, which mmpretrain lists.
        """
        root = self.img_prefix
        if not _is_local(root):
            return super()._find_samples()
        left_out = LeftOut()
        try:
            if self.with_label:
                classes = list_classes(root, self.extensions, left_out)
                self._set_classes(classes)
                samples = [
                    (name, label)
                    for label, top in enumerate(classes)
                    for name in list_images(root, self.extensions, left_out, top)
                ]
            else:
                samples = list_images(root, self.extensions, left_out)
        except OSError as error:
            raise OSError(
                f"The image folder {printable(error.filename or root)!r} cannot be read "
                f"({error.strerror}). Change its permissions, or remove it."
            ) from error
        if left_out.counts:
            _warn(f"{printable(root.rstrip('/'))}: {left_out}.")
        if not samples:
            raise RuntimeError("no image")
        return samples

    def _set_classes(self, folders: list[str]) -> None:
        self.folder_to_idx = {name: label for label, name in enumerate(folders)}
        if self.CLASSES is None:
            self._metainfo["classes"] = tuple(folders)
        elif len(self.CLASSES) != len(folders):
            raise ValueError(
                f"ImageFolder got {len(self.CLASSES)} classes, but {self.img_prefix!r} has "
                f"{len(folders)} folders, each of which is a class. Make them equal, or leave out "
                "the classes to take the names of the folders."
            )

    def _check_no_empty_class(self, images: list[dict]) -> None:
        present = {image["gt_label"] for image in images}
        empty = [name for name, label in self.folder_to_idx.items() if label not in present]
        if empty:
            raise ValueError(
                f"{len(empty)} of {len(self.folder_to_idx)} class folders in {self.img_prefix!r} "
                f"contain no image: {', '.join(map(printable, empty[:5]))}. Remove them, since "
                "each folder is a class, or set extensions=(...) if their files have others."
            )

    def __getitem__(self, index: int) -> dict:
        """Returns the sample of an image, or of the next one that can be read.

        Raises:
            ValueError: If the image cannot be read in test mode, or too many in a row cannot.
        """
        skipped: list[Unreadable] = []
        while isinstance(sample := self._read(index), Unreadable):
            skipped.append(sample)
            if self.test_mode or len(skipped) > min(self.max_refetch, len(self) - 1):
                listed = self.list or self.ann_file
                lines = f", and their lines in {printable(listed)!r}" if listed else ""
                raise ValueError(
                    f"{len(skipped)} consecutive image(s) cannot be read: "
                    f"{', '.join(map(str, skipped[:5]))}. Repair or remove them{lines}."
                )
            index = _next_index(index, len(self))
        if skipped:
            paths, reasons = map(list, zip(*skipped, strict=True))
            fields = {"skipped_paths": paths, "skipped_reasons": reasons}
            sample["data_samples"].set_metainfo(fields)
        return sample

    def _read(self, index: int) -> dict | Unreadable:
        sample = self.get_data_info(index)
        path = sample["img_path"]
        fault = self._fault(path)
        if fault is not None:
            return Unreadable(path, fault)
        try:
            sample = self.pipeline(sample)
        except LOADING_ERRORS:
            if not self._loader_fails(index):
                raise
            sample = None
        return Unreadable(path, _undecodable(path)) if sample is None else sample

    def _fault(self, path: str) -> str | None:
        """Says why an image should not be decoded, None if nothing speaks against it."""
        return image_fault(path, self.max_pixels) if _is_local(path) else None

    def _loader_fails(self, index: int) -> bool:
        """Returns whether an image cannot be loaded, so that a later transform is not at fault."""
        sample = self.get_data_info(index)
        for transform in self.pipeline.transforms:
            try:
                sample = transform(sample)
            except LOADING_ERRORS:
                return True
            if sample is None or "img" in sample:
                return sample is None
        return False


class Unreadable(NamedTuple):
    """An image that cannot be read, and why, such as "is empty"."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{printable(self.path)} {self.reason}"


def evenly_spaced(size: int, number: int) -> list[int]:
    """Returns ``number`` of ``size`` indices, at most all, where equal parts begin."""
    return [part * size // number for part in range(number)]


def _next_index(index: int, size: int) -> int:
    """Returns the index after ``index``, with the same seed."""
    following = (index + 1) % size
    return SeededIndex(following, index.seed) if isinstance(index, SeededIndex) else following


def _undecodable(path: str) -> str:
    reason = "is damaged, or no image"
    if path.lower().endswith(TIFF):
        reason += ", or a TIFF of a kind that the loader does not know (see mmdino.LoadImage)"
    return reason


def _is_local(path: str) -> bool:
    return "://" not in path


def _require_folder(folder: str) -> None:
    if Path(folder).is_dir():
        return
    found = "does not exist"
    if Path(folder).exists():
        found = "is no folder"
    elif Path(folder).is_symlink():
        found = "is a link that leads nowhere"
    raise FileNotFoundError(
        f"The image folder {folder!r} {found}. Set data_root (and data_prefix) of ImageFolder to "
        "your images, e.g. with --cfg-options train_dataloader.dataset.data_root=PATH."
    )


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)

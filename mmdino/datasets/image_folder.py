"""Any folder tree of images, with or without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmpretrain.datasets import CustomDataset

from mmdino.datasets.balanced_subset import balanced_subset
from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.registry import DATASETS


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """mmpretrain's ``CustomDataset``, tolerant of unreadable images in training.

    Without labels every image below the folder is used, at any depth. With labels the first level
    of folders names the classes, or ``ann_file`` has lines of file name and class index.

    In training an unreadable image is replaced by the next one, and its path recorded in the
    sample's ``skipped_paths``, which ``UnreadableImagesHook`` counts. This requires a loader that
    returns None for such a file: ``dict(type="LoadImageFromFile", ignore_empty=True)``. In test
    mode an unreadable image is an error.

    Args:
        data_root: The folder.
        with_label: Whether to read labels.
        every: Use every n-th image in the order of the names.
        fraction: Use this fraction of the images of each class, at least one; see
            :func:`~mmdino.datasets.balanced_subset.balanced_subset`. 0.01 and 0.1 are the usual
            few-label settings.
        fraction_seed: Seed of that draw.
        max_refetch: Maximum number of consecutive unreadable images.
        **kwargs: Other arguments of mmpretrain's ``CustomDataset``.

    Raises:
        FileNotFoundError: If the folder is missing or contains no images.
        ValueError: If ``every``, ``fraction`` or ``fraction_seed`` is out of range, or a class is
            empty.

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
        max_refetch: int = 100,
        **kwargs: Any,
    ) -> None:
        if every < 1:
            raise ValueError(
                f"invalid every={every} of ImageFolder: expected at least 1 (all images)."
            )
        if fraction != 1 and not with_label:
            raise ValueError(
                f"ImageFolder got fraction={fraction} without labels, but the fraction is taken of "
                "each class. Set with_label=True, or use every n-th image with every=n."
            )
        self.every = every
        self.fraction = fraction
        self.fraction_seed = fraction_seed
        super().__init__(
            data_root=data_root, with_label=with_label, max_refetch=max_refetch, **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """Lists the images.

        Raises:
            FileNotFoundError: If the folder or the annotation file is missing or has no images.
            ValueError: If a class has no image.
        """
        folder = self.img_prefix.rstrip("/") or "/"
        local = "://" not in folder
        if local and not Path(folder).is_dir():
            raise FileNotFoundError(
                f"The image folder {folder!r} does not exist. Set data_root (and data_prefix) of "
                f"{type(self).__name__} to your images, e.g. with --cfg-options "
                "train_dataloader.dataset.data_root=PATH."
            )
        if self.ann_file and local and not Path(self.ann_file).is_file():
            raise FileNotFoundError(
                f"The annotation file {self.ann_file!r} does not exist. Its lines are "
                "'file class'; omit ann_file to use the folder names as classes."
            )
        try:
            images = super().load_data_list()
        except RuntimeError as error:
            layout = "folder/class_name/image" if self.with_label else "folder/**/image"
            raise FileNotFoundError(
                f"No image in {folder!r} (expected {layout} with one of the extensions "
                f"{', '.join(sorted(self.extensions))}). Check the path, or set extensions=(...)."
            ) from error
        if self.with_label and not self.ann_file:
            self._check_no_empty_class(images)
        images = images[:: self.every]
        if self.fraction != 1:
            labels = [image["gt_label"] for image in images]
            images = [images[i] for i in balanced_subset(labels, self.fraction, self.fraction_seed)]
        return images

    def _check_no_empty_class(self, images: list[dict]) -> None:
        present = {image["gt_label"] for image in images}
        empty = [name for name, label in self.folder_to_idx.items() if label not in present]
        if empty:
            raise ValueError(
                f"{len(empty)} of {len(self.folder_to_idx)} class folders in {self.img_prefix!r} "
                f"contain no image: {', '.join(empty[:5])}. Remove them, since each folder is a "
                "class, or set extensions=(...) if their files have other extensions."
            )

    def __getitem__(self, index: int) -> dict:
        """Returns the sample of an image, or of the next one that can be read.

        Raises:
            ValueError: If the image cannot be read in test mode, or too many in a row cannot.
        """
        skipped: list[str] = []
        while True:
            sample = self._read(index)
            if sample is not None:
                break
            skipped.append(self.get_data_info(index)["img_path"])
            if self.test_mode or len(skipped) > self.max_refetch:
                raise ValueError(
                    f"{len(skipped)} consecutive image(s) cannot be read: "
                    f"{', '.join(skipped[:5])}. Repair or remove them."
                )
            index = _next_index(index, len(self))
        if skipped:
            sample["data_samples"].set_field(skipped, "skipped_paths", field_type="metainfo")
        return sample

    def _read(self, index: int) -> dict | None:
        try:
            return self.prepare_data(index)
        except AssertionError as error:
            # With ignore_empty mmcv's loader returns None for a file that cannot be opened, but it
            # still asserts on one that OpenCV cannot decode.
            if "failed to load image" in str(error):
                return None
            raise


def _next_index(index: int, size: int) -> int:
    """Returns the index after ``index``, with the same seed."""
    following = (index + 1) % size
    return SeededIndex(following, index.seed) if isinstance(index, SeededIndex) else following

"""Any folder tree of images, with or without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmpretrain.datasets import CustomDataset

from mmdino.datasets.balanced_share import balanced_share
from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.registry import DATASETS


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """mmpretrain's ``CustomDataset`` that survives unreadable images and explains missing ones.

    Without labels every image below the folder is taken, however deep. With labels the first level
    of folders names the classes, or ``ann_file`` has lines of file name and class number.

    In training an unreadable image is replaced by the next one, and its path noted in the sample's
    ``skipped_paths``, which ``UnreadableImagesHook`` counts. For that the pipeline's loader must
    return None for it: ``dict(type="LoadImageFromFile", ignore_empty=True)``. In test mode an
    unreadable image is an error.

    Args:
        data_root: The folder.
        with_label: Whether to read labels.
        every: Take every n-th image in the order of names: a smaller set with all classes.
        share: Take this share of the images of each class, at least one: 0.01 and 0.1 are the
            usual few-label settings. A larger share with the same seed holds the smaller one.
        share_seed: Another seed takes other images.
        max_refetch: Images in a row that may be unreadable.
        **kwargs: Other arguments of mmpretrain's ``CustomDataset``.

    Raises:
        FileNotFoundError: If the folder is missing or holds no images.
        ValueError: If ``every``, ``share`` or ``share_seed`` is out of range, or a class is empty.

    Example:
        >>> dataset = dict(type="mmdino.ImageFolder", data_root="data/my_images", pipeline=[...])
    """

    def __init__(
        self,
        data_root: str = "",
        with_label: bool = False,
        every: int = 1,
        share: float = 1.0,
        share_seed: int = 0,
        max_refetch: int = 100,
        **kwargs: Any,
    ) -> None:
        if every < 1:
            raise ValueError(f"ImageFolder got every={every}; it must be at least 1 (all images).")
        if share != 1 and not with_label:
            raise ValueError(
                f"ImageFolder got share={share} without labels, which a balanced share goes by. "
                "Set with_label=True, or take every n-th image with every=n."
            )
        self.every = every
        self.share = share
        self.share_seed = share_seed
        super().__init__(
            data_root=data_root, with_label=with_label, max_refetch=max_refetch, **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """Lists the images.

        Raises:
            FileNotFoundError: If the folder or the annotation file is missing or holds no images.
            ValueError: If a class has no image.
        """
        folder = self.img_prefix.rstrip("/") or "/"
        local = "://" not in folder
        if local and not Path(folder).is_dir():
            raise FileNotFoundError(
                f"The image folder {folder!r} does not exist. Set data_root (and data_prefix) of "
                f"{type(self).__name__} to your images, for instance with --cfg-options "
                "train_dataloader.dataset.data_root=PATH."
            )
        if self.ann_file and local and not Path(self.ann_file).is_file():
            raise FileNotFoundError(
                f"The annotation file {self.ann_file!r} does not exist. It has a line 'file class' "
                "for each image; leave ann_file out to take classes from the names of folders."
            )
        try:
            images = super().load_data_list()
        except RuntimeError as error:
            layout = "folder/class_name/image" if self.with_label else "folder/**/image"
            raise FileNotFoundError(
                f"No image in {folder!r} (expected {layout} with one of the extensions "
                f"{', '.join(sorted(self.extensions))}). Check the path, or give extensions=(...)."
            ) from error
        if self.with_label and not self.ann_file:
            self._refuse_empty_classes(images)
        images = images[:: self.every]
        if self.share != 1:
            labels = [image["gt_label"] for image in images]
            images = [images[i] for i in balanced_share(labels, self.share, self.share_seed)]
        return images

    def _refuse_empty_classes(self, images: list[dict]) -> None:
        filled = {image["gt_label"] for image in images}
        empty = [name for name, label in self.folder_to_idx.items() if label not in filled]
        if empty:
            raise ValueError(
                f"{len(empty)} of {len(self.folder_to_idx)} class folders in {self.img_prefix!r} "
                f"hold no image: {', '.join(empty[:5])}. Remove them, so that the classes are "
                "numbered as you mean, or give extensions=(...) if their files end otherwise."
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
                    f"{len(skipped)} image(s) in a row cannot be read: {', '.join(skipped[:5])}. "
                    "Repair or remove them."
                )
            index = _next_index(index, len(self))
        if skipped:
            sample["data_samples"].set_field(skipped, "skipped_paths", field_type="metainfo")
        return sample

    def _read(self, index: int) -> dict | None:
        try:
            return self.prepare_data(index)
        except AssertionError as error:
            # What mmcv's loader cannot open it ignores if told so; what it can open and OpenCV
            # cannot decode it asserts on in any case.
            if "failed to load image" in str(error):
                return None
            raise


def _next_index(index: int, size: int) -> int:
    """The index after ``index``, with the seed of the draw it replaces."""
    following = (index + 1) % size
    return SeededIndex(following, index.seed) if isinstance(index, SeededIndex) else following

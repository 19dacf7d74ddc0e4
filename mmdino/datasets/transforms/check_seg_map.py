"""The check of a mask's ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.registry import TRANSFORMS

MAX_NAMED = 10
PNG = b"\x89PNG\r\n\x1a\n"


@TRANSFORMS.register_module()
class CheckSegMap(BaseTransform):
    """Refuses a mask with ids that are no class, or of another size than its image.

    A PNG of 16 bits is refused too, since mmsegmentation's loader cuts its ids to 8 bits.

    Without it an unknown id ends in an index error of the loss, on a GPU without the name of the
    file, or is left out of the metric without a word. Place it after ``LoadAnnotations`` and what
    else changes ids, before crops.

    Required keys: ``gt_seg_map``, uint8 of shape (H, W), and ``seg_map_path``; compared where they
    are there: ``reduce_zero_label`` and ``ori_shape``.

    Args:
        num_classes: Number of classes; their ids are 0 to ``num_classes - 1``.
        ignore_index: The id that counts nowhere.

    Raises:
        ValueError: If there are no classes; from the pipeline for a mask that does not fit, with
            the file, what it has, what is allowed and what to do.

    Example:
        >>> train_pipeline = [
        ...     dict(type="LoadImageFromFile"),
        ...     dict(type="LoadAnnotations"),
        ...     dict(type="mmdino.CheckSegMap", num_classes=150)]
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        if num_classes < 1:
            raise ValueError(f"CheckSegMap got num_classes={num_classes}; it must be at least 1.")
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Checks the mask of a sample and returns the sample as it is.

        Args:
            results: The sample; see the class for its keys.

        Raises:
            ValueError: If the mask does not fit.
        """
        seg_map, path = results["gt_seg_map"], results["seg_map_path"]
        if png_bits(path) == 16:
            raise ValueError(
                f"The mask {path} is a PNG of 16 bits, which mmsegmentation reads as 8: id 256 "
                "becomes 0. Write it as an 8-bit grey or palette PNG, with ids up to 255."
            )
        if seg_map.ndim != 2:
            raise ValueError(
                f"The mask {path} has shape {seg_map.shape}; it must be (height, width), one id a "
                "pixel. Write it as an 8-bit grey or palette PNG; colours must be turned into ids."
            )
        size = tuple(results.get("ori_shape", seg_map.shape)[:2])
        if seg_map.shape != size:
            raise ValueError(
                f"The mask {path} has {seg_map.shape} pixels (height, width) and its image {size}; "
                "they must be the same. Remake the mask, or check that the names of image and mask "
                "belong together."
            )
        present = np.flatnonzero(np.bincount(seg_map.ravel(), minlength=self.num_classes))
        unknown = [int(i) for i in present if i >= self.num_classes and i != self.ignore_index]
        if unknown:
            raise ValueError(self._message(path, unknown, bool(results.get("reduce_zero_label"))))
        return results

    def _message(self, path: str, unknown: list[int], reduced: bool) -> str:
        # The user knows the ids of the file, which reduce_zero_label has moved down by one.
        shift = 1 if reduced else 0
        named = ", ".join(str(i + shift) for i in unknown[:MAX_NAMED])
        more = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
        zero = ", 0 (ignored, reduce_zero_label=True)" if reduced else ""
        return (
            f"The mask {path} has unknown ids: {named}{more}. Allowed are {shift} to "
            f"{self.num_classes - 1 + shift} (the classes){zero} and {self.ignore_index} (ignored)."
            " Correct the mask; or, if these pixels belong to no class, add dict(type='mmdino."
            f"IgnoreSegIds', ids={unknown[:MAX_NAMED]}) before CheckSegMap; or, if the data set has"
            " more classes, set num_classes here and in the heads, and metainfo.classes."
        )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_classes={self.num_classes}, "
            f"ignore_index={self.ignore_index})"
        )


def png_bits(path: str) -> int | None:
    """Returns the bits a channel of a local PNG file; None where it is no such file."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(25)
    except OSError:
        return None
    return start[24] if len(start) == 25 and start.startswith(PNG) else None

"""Validation of segmentation masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.datasets.image_check import PNG
from mmdino.registry import TRANSFORMS
from mmdino.utils.numbers import require_number

MAX_NAMED = 10


@TRANSFORMS.register_module()
class CheckSegMap(BaseTransform):
    """Rejects masks with unknown ids, with 16 bits, or of another size than their image.

    Without it an unknown id ends in an index error of the loss (on a GPU without the file name) or
    is silently left out of the metric, and mmsegmentation's loader truncates 16-bit ids to 8 bits.
    Place it after ``LoadAnnotations`` and other transforms that change ids, and before crops.

    Required keys: ``gt_seg_map``, uint8 of shape (H, W), and ``seg_map_path``. Optional keys:
    ``reduce_zero_label`` and ``ori_shape``.

    Args:
        num_classes: Number C of classes, with ids 0 to C - 1.
        ignore_index: The ignored id.

    Raises:
        ValueError: If ``num_classes`` is below 1, or, from the pipeline, if a mask is invalid.

    Example:
        >>> train_pipeline = [
        ...     dict(type="LoadImageFromFile"),
        ...     dict(type="LoadAnnotations"),
        ...     dict(type="mmdino.CheckSegMap", num_classes=150)]
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        require_number("CheckSegMap", "num_classes", num_classes, least=1, whole=True)
        require_number("CheckSegMap", "ignore_index", ignore_index, least=0, most=255, whole=True)
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Checks the mask of a sample and returns the sample unchanged."""
        seg_map, path = results["gt_seg_map"], results["seg_map_path"]
        if png_bits(path) == 16:
            raise ValueError(
                f"The mask {path} is a 16-bit PNG, which mmsegmentation reads as 8 bits: id 256 "
                "becomes 0. Save it as an 8-bit greyscale or palette PNG, with ids up to 255."
            )
        if seg_map.ndim != 2:
            raise ValueError(
                f"The mask {path} has shape {seg_map.shape}: expected (height, width), one id per "
                "pixel. Convert colours to ids and save it as an 8-bit greyscale or palette PNG."
            )
        size = tuple(results.get("ori_shape", seg_map.shape)[:2])
        if seg_map.shape != size:
            raise ValueError(
                f"The mask {path} has size {seg_map.shape} (height, width), but its image {size}. "
                "Check that the file names of image and mask match, or recreate the mask."
            )
        present = np.flatnonzero(np.bincount(seg_map.ravel(), minlength=self.num_classes))
        unknown = [int(i) for i in present if i >= self.num_classes and i != self.ignore_index]
        if unknown:
            raise ValueError(self._message(path, unknown, bool(results.get("reduce_zero_label"))))
        return results

    def _message(self, path: str, unknown: list[int], reduced: bool) -> str:
        # Report the ids in the file, which reduce_zero_label has decremented.
        shift = 1 if reduced else 0
        named = ", ".join(str(i + shift) for i in unknown[:MAX_NAMED])
        more = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
        zero = ", 0 (ignored, reduce_zero_label=True)" if reduced else ""
        return (
            f"The mask {path} has unknown ids: {named}{more}. Valid ids are {shift} to "
            f"{self.num_classes - 1 + shift} (the classes){zero} and {self.ignore_index} (ignored)."
            " Fix the mask; or, if these pixels belong to no class, add dict(type='mmdino."
            f"IgnoreSegIds', ids={unknown[:MAX_NAMED]}) before CheckSegMap; or, if the data set has"
            " more classes, set num_classes here and in the heads, and metainfo.classes."
        )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(num_classes={self.num_classes}, "
            f"ignore_index={self.ignore_index})"
        )


def png_bits(path: str) -> int | None:
    """Returns the bits per channel of a local PNG file, None if it is no such file."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(25)
    except OSError:
        return None
    return start[24] if len(start) == 25 and start.startswith(PNG) else None

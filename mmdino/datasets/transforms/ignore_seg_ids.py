"""Mapping of mask ids that belong to no class to the ignored id."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.registry import TRANSFORMS
from mmdino.utils.numbers import require_number


@TRANSFORMS.register_module()
class IgnoreSegIds(BaseTransform):
    """Replaces ids such as "unlabelled" by the id that loss and metric ignore.

    mmsegmentation maps ids only for a data set class that lists all of them; this transform works
    with any data set.

    Required and modified key: ``gt_seg_map``, uint8 of shape (H, W).

    Args:
        ids: The ids to ignore, as they are after ``LoadAnnotations``.
        ignore_index: The ignored id, 255 in mmsegmentation.

    Raises:
        ValueError: If ``ids`` is empty or an id is outside of uint8.

    Example:
        >>> # CamVid, whose id 11 is "unlabelled":
        >>> step = dict(type="mmdino.IgnoreSegIds", ids=[11])
    """

    def __init__(self, ids: Sequence[int], ignore_index: int = 255) -> None:
        if not isinstance(ids, Sequence) or not ids:
            raise ValueError(f"IgnoreSegIds got ids={ids!r}; it must be a list of at least one id.")
        numbers = {f"ids[{index}]": value for index, value in enumerate(ids)}
        for name, value in {**numbers, "ignore_index": ignore_index}.items():
            require_number("IgnoreSegIds", name, value, least=0, most=255, whole=True)
        self.ids = tuple(ids)
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Modifies the mask of a sample in place and returns the sample."""
        seg_map = results["gt_seg_map"]
        seg_map[np.isin(seg_map, self.ids)] = self.ignore_index
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ids={self.ids}, ignore_index={self.ignore_index})"

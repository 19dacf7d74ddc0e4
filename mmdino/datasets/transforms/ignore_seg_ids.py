"""The ids of a mask that are no class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.registry import TRANSFORMS


@TRANSFORMS.register_module()
class IgnoreSegIds(BaseTransform):
    """Turns ids such as "unlabelled" into the one id that loss, metric and padding leave out.

    mmsegmentation maps ids only through a data set class that names all of them; this step does it
    for a data set of any class, and the ignored id is 255 everywhere, as mmsegmentation has it.

    Required and modified key: ``gt_seg_map``, uint8 of shape (H, W).

    Args:
        ids: The ids to leave out, as they are after ``LoadAnnotations``.
        ignore_index: What they become.

    Raises:
        ValueError: If there is no id, or one is out of the range of uint8.

    Example:
        CamVid, whose id 11 is "unlabelled"::

            dict(type="mmdino.IgnoreSegIds", ids=[11])
    """

    def __init__(self, ids: Sequence[int], ignore_index: int = 255) -> None:
        if not ids or any(not 0 <= i <= 255 for i in (*ids, ignore_index)):
            raise ValueError(
                f"IgnoreSegIds got ids={ids} and ignore_index={ignore_index}; give at least one id,"
                " all between 0 and 255."
            )
        self.ids = tuple(ids)
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Changes the mask of a sample in place and returns the sample."""
        seg_map = results["gt_seg_map"]
        seg_map[np.isin(seg_map, self.ids)] = self.ignore_index
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(ids={self.ids}, ignore_index={self.ignore_index})"

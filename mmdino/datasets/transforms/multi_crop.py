"""The views of an image that student and teacher see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.datasets.transforms.views.color_map import map_colors
from mmdino.datasets.transforms.views.draws import QuickDraws
from mmdino.datasets.transforms.views.group import PAPER_VIEWS, ViewGroup, parse_view_groups
from mmdino.datasets.transforms.views.ops import (
    flip,
    gaussian_blur,
    gray_to_bgr,
    jitter_color,
    quick_blur,
    resize_crop,
    solarize,
    to_gray,
)
from mmdino.datasets.transforms.views.plan import ViewPlan, draw_view_plan
from mmdino.registry import TRANSFORMS

COLOR_PATHS = ("fused", "sequential")


@TRANSFORMS.register_module()
class MultiCropTransform(BaseTransform):
    """Makes global and local views of an image (DINO, section 3.1, "multi-crop").

    Every view is a random-resized crop (bicubic, antialiased) that is then flipped, jittered in
    colour, made grey, blurred and solarised, each with a probability of its group. All of it is
    drawn before a pixel is touched; the image is decoded once and never copied as a whole.

    The views of a sample follow from the seed in ``results["sample_idx"]`` alone (see
    :class:`~mmdino.datasets.samplers.seeded_index.SeededIndex`), so they are the same whatever
    the number of workers and after a resume. Where the index has no seed, it is drawn from
    NumPy's global generator.

    Required keys: ``img`` of shape (H, W, 3) in BGR, (H, W) or (H, W, C); uint8, or uint16, whose
    65535 becomes 255 (load such files with ``color_type="unchanged"``).

    Modified keys: ``img``, a list of V contiguous uint8 arrays of shape (h, w, C), one a view, in
    the order of the groups. ``img_shape`` is removed, since the views have no common one.

    Args:
        views: The view groups, larger views first; :class:`~mmdino.datasets.transforms.views.group.
            ViewGroup` lists their fields, of which ``size`` and ``scale`` are required. By default
            the paper's two global views of 224 and eight local views of 96 pixels.
        color: How the colours are changed. ``"sequential"``: one change after the other, the hue
            turned in HSV space, each within a level or a step of hue of torchvision's.
            ``"fused"``, for photographs: jitter and loss of colour in as few affine maps as
            clipping allows, the hue turned about the axis of greys. It takes four fifths of the
            time, and views of photographs have the same distribution; vivid drawings change less
            in lightness than in HSV space. Under one seed the two draw different views.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If ``color`` is neither, if a field is unknown, missing or out of its range, if
            global views do not come first, or if there are fewer than two views.

    Example:
        Two global and four local views for images of 32 pixels::

            dict(
                type="mmdino.MultiCropTransform",
                views=[
                    dict(num=2, size=32, scale=(0.4, 1.0), solarize_prob=0.1),
                    dict(num=4, size=16, scale=(0.05, 0.4)),
                ],
            )
    """

    def __init__(self, views: Sequence[Mapping] = PAPER_VIEWS, color: str = "sequential") -> None:
        if color not in COLOR_PATHS:
            raise ValueError(f"color must be one of {', '.join(COLOR_PATHS)}, got {color!r}")
        self.color = color
        self.groups = parse_view_groups(views)
        self._three_channel_fields = [
            f"views[{i}].{name}"
            for i, group in enumerate(self.groups)
            for name in group.three_channel_fields
        ]

    def transform(self, results: dict) -> dict:
        """Replaces the image of a sample by its views.

        Args:
            results: The sample; see the class for its keys.

        Returns:
            The same dict.

        Raises:
            TypeError: If the image is not a uint8 or uint16 array.
            ValueError: If the image has no pixels or not two or three axes, or if it has not three
                channels while a group asks for a change of colour.
        """
        image = _source_image(results)
        channels = image.shape[2]
        if channels != 3 and self._three_channel_fields:
            raise ValueError(
                f"Saturation, hue and loss of colour need images of 3 channels, got {channels}. "
                f"Set {', '.join(self._three_channel_fields)} to 0."
            )
        fused = self.color == "fused"
        rng = QuickDraws(rng_for(results)) if fused else rng_for(results)
        draw = partial(draw_view_plan, rng, *image.shape[:2])
        groups = [group for group in self.groups for _ in range(group.num)]
        plans = [draw(group) for group in groups]
        finish = finish_fused if fused else finish_sequential
        # All crops first: the image stays in the processor's cache meanwhile.
        crops = [
            resize_crop(image, plan.box, group.size)
            for plan, group in zip(plans, groups, strict=True)
        ]
        results["img"] = [
            finish(crop, plan, group)
            for crop, plan, group in zip(crops, plans, groups, strict=True)
        ]
        results.pop("img_shape", None)
        return results

    def __repr__(self) -> str:
        groups = "".join(f"    {group},\n" for group in self.groups)
        return f"{type(self).__name__}(color={self.color!r}, views=[\n{groups}])"


def finish_fused(view: np.ndarray, plan: ViewPlan, group: ViewGroup) -> np.ndarray:
    """Makes a view of a resized crop, its colours changed in as few passes as clipping allows.

    Args:
        view: Contiguous uint8 array of shape (h, w, C).
        plan: What was drawn for the view.
        group: What it was drawn from.

    Returns:
        Contiguous uint8 array of the same shape.
    """
    view = map_colors(view, plan.jitter, plan.gray)
    if plan.flip:
        view = flip(view)
    if plan.blur_sigma is not None:
        view = quick_blur(view, plan.blur_sigma)
    if plan.solarize:
        view = solarize(view, group.solarize_threshold)
    return gray_to_bgr(view) if plan.gray else view


def finish_sequential(view: np.ndarray, plan: ViewPlan, group: ViewGroup) -> np.ndarray:
    """Makes a view, its colours changed one after the other; see :func:`finish_fused`."""
    if plan.flip:
        view = flip(view)
    view = jitter_color(view, plan.jitter)
    if plan.gray:
        view = to_gray(view)
    if plan.blur_sigma is not None:
        view = gaussian_blur(view, plan.blur_sigma)
    if plan.solarize:
        view = solarize(view, group.solarize_threshold)
    return view


def rng_for(results: Mapping) -> np.random.Generator:
    """Returns the source of a sample's random draws.

    Args:
        results: The sample. The seed is ``results["sample_idx"].seed``, or drawn from NumPy's
            global generator where there is none.

    Returns:
        A fresh generator.
    """
    seed = getattr(results.get("sample_idx"), "seed", None)
    if seed is None:
        seed = np.random.randint(np.iinfo(np.int64).max, dtype=np.int64)
    return np.random.default_rng(seed)


def _source_image(results: Mapping) -> np.ndarray:
    """Returns the image as (H, W, C), a view of the same memory."""
    image = results.get("img")
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16):
        came = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(
            f"MultiCropTransform needs results['img'] to be a uint8 or uint16 array, got {came}: "
            "put it right after LoadImageFromFile, and leave normalisation to the data preprocessor"
        )
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            f"MultiCropTransform needs results['img'] of shape (H, W) or (H, W, C), none of them "
            f"0, got {image.shape}"
        )
    return image[..., np.newaxis] if image.ndim == 2 else image

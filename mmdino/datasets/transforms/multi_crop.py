"""Multi-crop augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.datasets.transforms.views.color_map import map_colors
from mmdino.datasets.transforms.views.draws import BatchedDraws
from mmdino.datasets.transforms.views.group import PAPER_VIEWS, ViewGroup, parse_view_groups
from mmdino.datasets.transforms.views.ops import (
    flip,
    gaussian_blur,
    gray_to_bgr,
    jitter_color,
    resize_crop,
    solarize,
    to_gray,
    truncated_blur,
)
from mmdino.datasets.transforms.views.plan import ViewPlan, draw_view_plan
from mmdino.registry import TRANSFORMS

COLOR_PATHS = ("fused", "sequential")


@TRANSFORMS.register_module()
class MultiCropTransform(BaseTransform):
    """Makes global and local views of an image (Caron et al. 2021, section 3.1, "multi-crop").

    A view is a random-resized crop (antialiased), then flipped, colour-jittered, converted
    to greyscale, blurred and solarised, each with the probability of its group.

    The views of a sample depend only on the seed in ``results["sample_idx"]`` (see
    :class:`~mmdino.datasets.samplers.seeded_index.SeededIndex`), not on the number of workers or on
    a resume. If the index has no seed, one is drawn from NumPy's global generator.

    Required keys: ``img`` of shape (H, W, 3) in BGR, (H, W) or (H, W, C); uint8, or uint16, which
    is scaled to 8 bits (load such files with ``color_type="unchanged"``).

    Modified keys: ``img``, a list of V contiguous uint8 arrays of shape (h, w, C) in the order of
    the groups. ``img_shape`` is removed, since views differ in shape.

    Added keys: ``clean_img``, a list of the undistorted crops of the groups with ``clean_size``, in
    their order, if there are any.

    Args:
        views: The view groups, larger views first, with the fields of
            :class:`~mmdino.datasets.transforms.views.group.ViewGroup`. By default the paper's two
            global views of 224 and eight local views of 96 pixels.
        color: ``"sequential"`` applies the colour changes one after the other, with the hue shifted
            in HSV space, each within one level (or one hue step) of torchvision's. ``"fused"``, for
            photographs, composes jitter and greyscale conversion into as few affine maps as
            clipping allows and rotates the hue about the grey axis. It takes 4/5 of the time; views
            of photographs have the same distribution, but the lightness of vivid drawings changes
            less. With the same seed the two draw different views.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If ``color`` is unknown, if a field is unknown, missing or out of range, if
            groups are not ordered by size, or if there are no views.

    Example:
        >>> # Two global and four local views for images of 32 pixels:
        >>> step = dict(
        ...     type="mmdino.MultiCropTransform",
        ...     views=[dict(num=2, size=32, scale=(0.4, 1.0), solarize_prob=0.1),
        ...            dict(num=4, size=16, scale=(0.05, 0.4))])
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
        """Replaces the image of a sample by its views, in place.

        Raises:
            TypeError: If the image is not a uint8 or uint16 array.
            ValueError: If the image is empty or does not have two or three axes, or if a group
                changes colours and the image does not have three channels.
        """
        image = _source_image(results)
        channels = image.shape[2]
        if channels != 3 and self._three_channel_fields:
            raise ValueError(
                f"Saturation, hue and greyscale need images of 3 channels, got {channels}. "
                f"Set {', '.join(self._three_channel_fields)} to 0."
            )
        fused = self.color == "fused"
        rng = BatchedDraws(rng_for(results)) if fused else rng_for(results)
        draw = partial(draw_view_plan, rng, *image.shape[:2])
        groups = [group for group in self.groups for _ in range(group.num)]
        plans = [draw(group) for group in groups]
        finish = finish_fused if fused else finish_sequential
        # All crops first, while the image is in the processor's cache.
        crops = [
            resize_crop(image, plan.box, group.size, group.interpolation)
            for plan, group in zip(plans, groups, strict=True)
        ]
        results["img"] = [
            finish(crop, plan, group)
            for crop, plan, group in zip(crops, plans, groups, strict=True)
        ]
        clean = [
            clean_view(image, plan, group.clean_size, group.interpolation)
            for plan, group in zip(plans, groups, strict=True)
            if group.clean_size is not None
        ]
        if clean:
            results["clean_img"] = clean
        results.pop("img_shape", None)
        return results

    def __repr__(self) -> str:
        groups = "".join(f"    {group},\n" for group in self.groups)
        return f"{type(self).__name__}(color={self.color!r}, views=[\n{groups}])"


def clean_view(
    image: np.ndarray, plan: ViewPlan, size: tuple[int, int], interpolation: str = "bicubic"
) -> np.ndarray:
    """Crops and flips an image (H, W, C) as a plan says, and changes nothing else.

    DINOv3's authors crop once at the larger size and resize that for the student. Here both
    pictures are resized from the image, so that views are the same with and without this one.
    """
    view = resize_crop(image, plan.box, size, interpolation)
    return flip(view) if plan.flip else view


def finish_fused(view: np.ndarray, plan: ViewPlan, group: ViewGroup) -> np.ndarray:
    """Augments a resized crop (h, w, C), with its colour changes composed."""
    view = map_colors(view, plan.jitter, plan.gray)
    if plan.flip:
        view = flip(view)
    if plan.blur_sigma is not None:
        view = truncated_blur(view, plan.blur_sigma)
    if plan.solarize:
        view = solarize(view, group.solarize_threshold)
    return gray_to_bgr(view) if plan.gray else view


def finish_sequential(view: np.ndarray, plan: ViewPlan, group: ViewGroup) -> np.ndarray:
    """Augments a resized crop (h, w, C), with one colour change after the other."""
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
    """Returns a generator seeded by ``results["sample_idx"].seed``, else by NumPy's global one."""
    seed = getattr(results.get("sample_idx"), "seed", None)
    if seed is None:
        seed = np.random.randint(np.iinfo(np.int64).max, dtype=np.int64)
    return np.random.default_rng(seed)


def _source_image(results: Mapping) -> np.ndarray:
    """Returns the image as (H, W, C), without a copy."""
    image = results.get("img")
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16):
        found = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(
            f"MultiCropTransform needs results['img'] to be a uint8 or uint16 array, got {found}: "
            "put it right after LoadImageFromFile, and leave normalisation to the data preprocessor"
        )
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            "MultiCropTransform needs a non-empty results['img'] of shape (H, W) or (H, W, C), got "
            f"{image.shape}"
        )
    return image[..., np.newaxis] if image.ndim == 2 else image

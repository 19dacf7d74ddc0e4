"""The views of an image that student and teacher see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.datasets.transforms.view_group import PAPER_VIEWS, ViewGroup, parse_view_groups
from mmdino.datasets.transforms.view_ops import (
    draw_crop_box,
    flip,
    gaussian_blur,
    jitter_color,
    resize_crop,
    solarize,
    to_gray,
    uniform,
)
from mmdino.registry import TRANSFORMS


@TRANSFORMS.register_module()
class MultiCropTransform(BaseTransform):
    """Makes global and local views of an image (DINO, section 3.1, "multi-crop").

    Every view is a random-resized crop (bicubic, antialiased) that is then flipped, jittered in
    colour, made grey, blurred and solarised, each with a probability of its group. The image is
    decoded once and never copied as a whole.

    The views of a sample follow from the seed in ``results["sample_idx"]`` alone (see
    :class:`~mmdino.datasets.samplers.seeded_index.SeededIndex`), so they are the same whatever
    the number of workers and after a resume. Where the index has no seed, it is drawn from
    NumPy's global generator.

    Required keys: ``img``, uint8 of shape (H, W, 3) in BGR, (H, W) or (H, W, C).

    Modified keys: ``img``, a list of V contiguous uint8 arrays of shape (h, w, C), one a view, in
    the order of the groups. ``img_shape`` is removed, since the views have no common one.

    Args:
        views: The view groups, larger views first; :class:`~mmdino.datasets.transforms.view_group.
            ViewGroup` lists their fields, of which ``size`` and ``scale`` are required. By default
            the paper's two global views of 224 and eight local views of 96 pixels.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If a field is unknown, missing or out of its range, if global views do not come
            first, or if there are fewer than two views.

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

    def __init__(self, views: Sequence[Mapping] = PAPER_VIEWS) -> None:
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
            TypeError: If the image is not a uint8 array.
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
        rng = rng_for(results)
        results["img"] = [
            make_view(rng, image, group) for group in self.groups for _ in range(group.num)
        ]
        results.pop("img_shape", None)
        return results

    def __repr__(self) -> str:
        groups = "".join(f"    {group},\n" for group in self.groups)
        return f"{type(self).__name__}(views=[\n{groups}])"


def make_view(rng: np.random.Generator, image: np.ndarray, group: ViewGroup) -> np.ndarray:
    """Draws one view of an image.

    Args:
        rng: Source of all draws.
        image: uint8 image of shape (H, W, C); it is left as it is.
        group: What the view is made of.

    Returns:
        Contiguous uint8 array of shape (h, w, C), where (h, w) is the group's size.
    """
    height, width = image.shape[:2]
    box = draw_crop_box(rng, height, width, group.scale, group.ratio)
    view = resize_crop(image, box, group.size)
    if rng.random() < group.flip_prob:
        view = flip(view)
    if rng.random() < group.jitter_prob:
        view = jitter_color(
            rng, view, group.brightness, group.contrast, group.saturation, group.hue
        )
    if rng.random() < group.gray_prob:
        view = to_gray(view)
    if rng.random() < group.blur_prob:
        view = gaussian_blur(view, uniform(rng, *group.blur_sigma))
    if rng.random() < group.solarize_prob:
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
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        came = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(
            f"MultiCropTransform needs results['img'] to be a uint8 array, got {came}: put it "
            f"right after LoadImageFromFile, and leave normalisation to the data preprocessor"
        )
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            f"MultiCropTransform needs results['img'] of shape (H, W) or (H, W, C), none of them "
            f"0, got {image.shape}"
        )
    return image[..., np.newaxis] if image.ndim == 2 else image

"""The random choices of a view, drawn before any pixel is processed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmdino.datasets.transforms.views.draws import BatchedDraws
from mmdino.datasets.transforms.views.group import ViewGroup
from mmdino.datasets.transforms.views.ops import draw_crop_box, draw_jitter, uniform


class ViewPlan(NamedTuple):
    """The random choices of one view.

    Attributes:
        box: Top, left, height and width of the crop, pixels of the image.
        flip: Whether to flip left to right.
        jitter: Colour changes as (name, amount), in order.
        gray: Whether to convert to greyscale.
        blur_sigma: Standard deviation of the blur, pixels of the view; None for no blur.
        solarize: Whether to solarise.
    """

    box: tuple[int, int, int, int]
    flip: bool
    jitter: list[tuple[str, float]]
    gray: bool
    blur_sigma: float | None
    solarize: bool


def draw_view_plan(
    rng: np.random.Generator | BatchedDraws, height: int, width: int, group: ViewGroup
) -> ViewPlan:
    """Draws the choices of one view of ``group`` of an image of ``height`` x ``width`` pixels."""
    box = draw_crop_box(rng, height, width, group.scale, group.ratio)
    flip = rng.random() < group.flip_prob
    jitter: list[tuple[str, float]] = []
    if rng.random() < group.jitter_prob:
        amounts = (group.brightness, group.contrast, group.saturation, group.hue)
        jitter = draw_jitter(rng, *amounts)
    gray = rng.random() < group.gray_prob
    blurred = rng.random() < group.blur_prob
    blur_sigma = uniform(rng, *group.blur_sigma) if blurred else None
    solarize = rng.random() < group.solarize_prob
    return ViewPlan(box, flip, jitter, gray, blur_sigma, solarize)

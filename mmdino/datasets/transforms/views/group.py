"""Groups of views with the same options, parsed from a config."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from numbers import Integral, Real

INTERPOLATIONS = ("bicubic", "bilinear")
PAPER_VIEWS: tuple[dict, ...] = (
    {"num": 1, "size": 224, "scale": (0.4, 1.0), "blur_prob": 1.0},
    {"num": 1, "size": 224, "scale": (0.4, 1.0), "blur_prob": 0.1, "solarize_prob": 0.2},
    {"num": 8, "size": 96, "scale": (0.05, 0.4), "blur_prob": 0.5},
)
"""The views of the paper's default run: two global and eight local ones (section 3.1; the colour
changes are those of the released code)."""


@dataclass(frozen=True, kw_only=True)
class ViewGroup:
    """Views of one size and one distribution of augmentations.

    Built by :func:`parse_view_groups`, which checks the values. ``saturation``, ``hue`` and
    ``gray_prob`` require images of three channels; 0 disables each.

    Attributes:
        num: Number of views per image; 0 leaves the group out.
        size: Height and width of a view, pixels; an int in a config means a square.
        scale: Range of the crop's area over the image's.
        ratio: Range of the crop's aspect ratio, width over height.
        flip_prob: Probability of a left-right flip.
        jitter_prob: Probability of the next four colour changes, applied in random order.
        brightness: The brightness factor is drawn from [max(0, 1 - b), 1 + b].
        contrast: The same for the contrast to the mean grey level.
        saturation: The same for the saturation.
        hue: The hue shift is drawn from [-h, h], a fraction of the hue circle, at most 0.5.
        gray_prob: Probability of a conversion to greyscale.
        blur_prob: Probability of a Gaussian blur.
        blur_sigma: Range of the blur's standard deviation, pixels of the view.
        solarize_prob: Probability of solarisation.
        solarize_threshold: Lowest level that is inverted, 0 to 255.
        clean_size: Height and width of a second picture of each crop, pixels: the same box and
            flip, but no colour change, blur or solarisation. For the Gram teacher of DINOv3; None
            makes none.
        interpolation: How a crop is resized, ``"bicubic"`` or ``"bilinear"``, with antialiasing.
    """

    num: int = 1
    size: tuple[int, int]
    scale: tuple[float, float]
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_prob: float = 0.5
    jitter_prob: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    gray_prob: float = 0.2
    blur_prob: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_prob: float = 0.0
    solarize_threshold: int = 128
    clean_size: tuple[int, int] | None = None
    interpolation: str = "bicubic"

    @property
    def three_channel_fields(self) -> tuple[str, ...]:
        """Names of the enabled fields that require three channels."""
        in_use = {
            "saturation": self.jitter_prob > 0 and self.saturation > 0,
            "hue": self.jitter_prob > 0 and self.hue > 0,
            "gray_prob": self.gray_prob > 0,
        }
        return tuple(name for name, used in in_use.items() if used)


def parse_view_groups(views: Sequence[Mapping]) -> tuple[ViewGroup, ...]:
    """Parses and checks the view groups of a config.

    Args:
        views: One mapping per group with the fields of :class:`ViewGroup`, of which ``size`` and
            ``scale`` are required; groups of larger views come first.

    Raises:
        TypeError: If a value has the wrong type.
        ValueError: If a field is unknown, missing or out of range, if a group's views are larger
            than those of the group before, or if there are no views.
    """
    if not isinstance(views, Sequence) or isinstance(views, str):
        raise TypeError(f"views must be a list of dicts, one per view group, got {views!r}")
    parsed = (_parse_view_group(f"views[{i}]", group) for i, group in enumerate(views))
    groups = tuple(group for group in parsed if group.num)
    if not groups:
        raise ValueError("views must add up to at least 1 view, got 0: increase num or add a group")
    for i, (group, following) in enumerate(pairwise(groups)):
        if math.prod(following.size) > math.prod(group.size):
            raise ValueError(
                f"views must be ordered from large (global) to small, got views[{i}].size="
                f"{group.size} before views[{i + 1}].size={following.size}: swap the groups"
            )
    return groups


def _parse_view_group(name: str, group: Mapping) -> ViewGroup:
    if not isinstance(group, Mapping):
        raise TypeError(f"{name} must be a dict with the fields of a view group, got {group!r}")
    known = [field.name for field in fields(ViewGroup)]
    unknown = [key for key in group if key not in known]
    if unknown:
        raise ValueError(f"{name} has unknown fields {unknown}; valid fields are {known}")
    missing = [key for key in ("size", "scale") if key not in group]
    if missing:
        raise ValueError(f"{name} lacks the required fields {missing}")
    return ViewGroup(**{key: _CHECKS[key](f"{name}.{key}", group[key]) for key in group})


def _integer(name: str, value: object, low: int, high: int | None = None) -> int:
    allowed = f"an int of at least {low}" if high is None else f"an int from {low} to {high}"
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be {allowed}, got {value!r}")
    if value < low or (high is not None and value > high):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return int(value)


def _number(name: str, value: object, high: float = math.inf) -> float:
    allowed = "a finite number >= 0" if math.isinf(high) else f"a number from 0 to {high:g}"
    if not _is_number(value):
        raise TypeError(f"{name} must be {allowed}, got {value!r}")
    if not (0 <= value <= high and math.isfinite(value)):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return float(value)


def _interval(name: str, value: object, high: float = math.inf) -> tuple[float, float]:
    bound = "" if math.isinf(high) else f" <= {high:g}"
    allowed = f"two finite numbers (low, high) with 0 < low <= high{bound}"
    if not _is_pair(value) or not all(_is_number(end) for end in value):
        raise TypeError(f"{name} must be {allowed}, got {value!r}")
    if not (0 < value[0] <= value[1] <= high and math.isfinite(value[1])):
        raise ValueError(f"{name} must be {allowed}, got {value!r}")
    return float(value[0]), float(value[1])


def _height_width(name: str, value: object) -> tuple[int, int]:
    height, width = value if _is_pair(value) else (value, value)
    return _integer(name, height, low=1), _integer(name, width, low=1)


def _optional_height_width(name: str, value: object) -> tuple[int, int] | None:
    return None if value is None else _height_width(name, value)


def _interpolation(name: str, value: object) -> str:
    if value not in INTERPOLATIONS:
        raise ValueError(f"{name} must be one of {', '.join(INTERPOLATIONS)}, got {value!r}")
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_pair(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2


_CHECKS: dict[str, Callable[[str, object], object]] = {
    "num": partial(_integer, low=0),
    "size": _height_width,
    "scale": partial(_interval, high=1.0),
    "ratio": _interval,
    "flip_prob": partial(_number, high=1.0),
    "jitter_prob": partial(_number, high=1.0),
    "brightness": _number,
    "contrast": _number,
    "saturation": _number,
    "hue": partial(_number, high=0.5),
    "gray_prob": partial(_number, high=1.0),
    "blur_prob": partial(_number, high=1.0),
    "blur_sigma": _interval,
    "solarize_prob": partial(_number, high=1.0),
    "solarize_threshold": partial(_integer, low=0, high=255),
    "clean_size": _optional_height_width,
    "interpolation": _interpolation,
}

"""Draws one shape on a multicoloured background, with its exact mask.

The kinds of shape differ in contour and in the light and dark pattern inside; position, size,
rotation and hues are random. Colour varies as much within an image as between images, so it does
not help to match two crops of an image. The pattern does, and that is what a model has to learn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

BACKGROUND_RANGE = (5.0, 250.0)
LIGHT_RANGE = (175.0, 255.0)
DARK_RANGE = (0.0, 80.0)
"""Ranges of the channel values, within 0 to 255. The background spans nearly all of them, so that
raw pixels do not reveal the silhouette."""

Region = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Pose(NamedTuple):
    """Position, size and rotation of a shape.

    Attributes:
        x: Column of the centre, in pixels from the left border.
        y: Row of the centre, in pixels from the upper border.
        radius: Radius of the shape's unit circle, in pixels. Every shape lies within it.
        angle: Clockwise rotation, in radians.
    """

    x: float
    y: float
    radius: float
    angle: float


class Kind(NamedTuple):
    """One kind of shape, in coordinates with x to the right, y down and a radius of 1.

    Attributes:
        contour: Returns which points (x, y) belong to the shape.
        pattern: Returns which points (x, y) are light; the others are dark.
    """

    contour: Region
    pattern: Region


def _polygon(*corners: tuple[float, float]) -> Region:
    """Returns the test for the inside of a polygon, by the even-odd rule."""

    def inside(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        odd = np.zeros(x.shape, dtype=bool)
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            if y0 != y1:
                crosses = (y0 > y) != (y1 > y)
                odd ^= crosses & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
        return odd

    return inside


def _star(points: int, inner: float) -> Region:
    turns = np.arange(2 * points) * (np.pi / points)
    radii = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    return _polygon(
        *((float(r * np.sin(t)), float(-r * np.cos(t))) for r, t in zip(radii, turns, strict=True))
    )


def _disc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x * x + y * y < 0.92**2


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    square = x * x + y * y
    return (square < 1) & (square > 0.5**2)


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(abs(x), abs(y)) < 0.7


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = abs(x), abs(y)
    return (np.minimum(x, y) < 0.3) & (np.maximum(x, y) < 0.95)


def _crescent(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x * x + y * y < 1) & ((x - 0.42) ** 2 + y * y > 0.72**2)


def _heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = 1.32 * x, 0.2 - 1.32 * y
    return (x * x + y * y - 1) ** 3 < x * x * y**3


def _flower(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) < 0.72 + 0.28 * np.cos(6 * np.arctan2(y, x))


def _light(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.ones(x.shape, dtype=bool)


def _dark(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.zeros(x.shape, dtype=bool)


def _stripes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (y * 3.6) % 1 < 0.5


def _checks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.floor(x * 3) + np.floor(y * 3)) % 2 == 0


def _grid(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.minimum((x * 2) % 1, (y * 2) % 1) > 0.22


def _light_dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((x * 2) % 1 - 0.5) ** 2 + ((y * 2) % 1 - 0.5) ** 2 < 0.3**2


def _dark_dots(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ~_light_dots(x, y)


def _rays(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (np.arctan2(y, x) * (4 / np.pi)) % 1 < 0.5


def _light_core(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x * x + y * y < 0.5**2


def _dark_core(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x * x + y * y > 0.42**2


_TRIANGLE = ((0.0, -1.0), (0.86, 0.5), (-0.86, 0.5))
_ARROW = (
    (0.0, -1.0),
    (0.7, -0.1),
    (0.3, -0.1),
    (0.3, 0.9),
    (-0.3, 0.9),
    (-0.3, -0.1),
    (-0.7, -0.1),
)

KINDS: dict[str, Kind] = {
    "disc": Kind(_disc, _light_dots),
    "ring": Kind(_ring, _rays),
    "square": Kind(_square, _checks),
    "triangle": Kind(_polygon(*_TRIANGLE), _dark_dots),
    "cross": Kind(_cross, _grid),
    "star": Kind(_star(5, 0.45), _dark_core),
    "heart": Kind(_heart, _light),
    "crescent": Kind(_crescent, _stripes),
    "arrow": Kind(_polygon(*_ARROW), _dark),
    "flower": Kind(_flower, _light_core),
}
"""The kinds of shape by name."""


def draw_pose(rng: np.random.Generator, size: int) -> Pose:
    """Draws a pose inside an image of ``size`` pixels, with a diameter of 58 % to 88 % of it."""
    radius = size * rng.uniform(0.29, 0.44)
    x, y = rng.uniform(radius, size - radius, size=2)
    return Pose(x, y, radius, rng.uniform(-np.pi, np.pi))


def shape_coordinates(pose: Pose, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the coordinates x and y of the pixel centres, each (S, S), in those of a shape."""
    centers = np.arange(size) + 0.5
    right = (centers - pose.x)[None, :] / pose.radius
    down = (centers - pose.y)[:, None] / pose.radius
    cos, sin = np.cos(pose.angle), np.sin(pose.angle)
    return cos * right + sin * down, cos * down - sin * right


def draw_color_field(
    rng: np.random.Generator, size: int, value_range: tuple[float, float]
) -> np.ndarray:
    """Draws a smooth colour field (size, size, 3): 4 x 4 colours, interpolated linearly."""
    weights = _interpolation_weights(size, 4)
    knots = rng.uniform(*value_range, size=(4, 4 * 3))
    return weights @ (weights @ knots).reshape(size, 4, 3)


@lru_cache
def _interpolation_weights(size: int, knots: int) -> np.ndarray:
    """Returns weights (size, knots) for linear interpolation between evenly spaced knots."""
    positions = np.linspace(0, knots - 1, size)
    return np.clip(1 - abs(positions[:, None] - np.arange(knots)), 0, None)


def paint_shape(
    kind: str,
    size: int,
    pose: Pose,
    object_rng: np.random.Generator,
    background_rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Paints one shape on a background.

    A pixel belongs to the shape if its centre does, without antialiasing, so the mask is exact.

    Args:
        kind: One of the names in ``KINDS``.
        size: Side S of the image, in pixels.
        pose: Pose of the shape.
        object_rng: Source of the shape's colours.
        background_rng: Source of the background's colours.

    Returns:
        The image, (S, S, 3) uint8 in BGR, and the mask of the shape, (S, S) bool.
    """
    contour, pattern = KINDS[kind]
    x, y = shape_coordinates(pose, size)
    mask = contour(x, y)
    image = draw_color_field(background_rng, size, BACKGROUND_RANGE)
    light = draw_color_field(object_rng, size, LIGHT_RANGE)
    dark = draw_color_field(object_rng, size, DARK_RANGE)
    is_light = pattern(x[mask], y[mask])[:, None]
    image[mask] = np.where(is_light, light[mask], dark[mask])
    return np.rint(image).astype(np.uint8), mask

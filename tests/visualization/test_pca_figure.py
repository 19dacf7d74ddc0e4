"""Figures of principal components show every image above its patches, enlarged exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from tiny_vit import picture

from mmdino.visualization.pca_figure import (
    MAX_IMAGES,
    PER_ROW,
    color_picture,
    draw_pca_figure,
    pca_frames,
)


def make_colors(rows=5, columns=7, seed=0):
    return torch.rand(rows, columns, 3, generator=torch.Generator().manual_seed(seed))


def test_each_patch_is_a_rectangle_of_its_colour():
    colors = make_colors(2, 3)
    shown = color_picture(colors, (20, 30))
    expected = (255 * colors).round().byte().numpy().repeat(10, 0).repeat(10, 1)
    np.testing.assert_array_equal(shown, expected)
    assert not np.array_equal(color_picture(colors, (20, 30), "bilinear"), expected)


@pytest.mark.parametrize("number", [1, 2, PER_ROW + 2])
def test_a_figure_has_each_image_above_its_rows(number):
    images = [picture(seed, 40, 30 + 20 * seed) for seed in range(number)]
    colors = [make_colors(seed=seed) for seed in range(number)]
    figure = draw_pca_figure(images, {"trained": colors, "untrained": colors}, ["two", "notes"])
    assert len(figure.axes) == 3 * number
    across = min(number, PER_ROW)
    tops = [axes.get_position().y1 for axes in figure.axes[: 3 * across : 3]]
    below = [axes.get_position().y1 for axes in figure.axes[1 : 3 * across : 3]]
    assert max(below) < min(tops)
    texts = [text.get_text() for text in figure.texts]
    assert {"image", "trained", "untrained", "two\nnotes"} <= set(texts)


def test_no_text_is_clipped():
    figure = draw_pca_figure([picture()], {"untrained, seed 12345": [make_colors()]}, ["a " * 60])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for text in figure.texts:
        box = text.get_window_extent(canvas.get_renderer())
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("number", [0, MAX_IMAGES + 1])
def test_a_figure_without_or_with_too_many_images_is_refused(number):
    with pytest.raises(ValueError, match=rf"1 to {MAX_IMAGES} images, got {number}.*n-th"):
        draw_pca_figure([picture()] * number, {})


def test_frames_have_the_image_on_the_left_and_its_colours_on_the_right():
    image, colors = picture(), make_colors()
    (frame,) = pca_frames([(image, colors)])
    left, right = np.split(frame, 2, axis=1)
    np.testing.assert_array_equal(left[::6, ::6], image)
    np.testing.assert_array_equal(right, color_picture(colors, left.shape[:2]))

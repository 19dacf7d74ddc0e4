"""Figures of attention show every head with its name, and clip no text."""

from __future__ import annotations

from itertools import combinations

import matplotlib.pyplot
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from tiny_vit import picture

from mmdino.visualization.attention_figure import (
    attention_frames,
    colorize,
    darken_outside,
    draw_attention_figure,
    draw_attention_grid,
    draw_panels,
    overlay,
    to_canvas,
    write_figure,
)


def make_maps(heads=3, rows=5, columns=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(heads, rows, columns, generator=generator) ** 3


def titles(figure):
    return [ax.get_title().split("\n")[0] for ax in figure.axes if ax.get_title()]


def pictures(figure):
    """Returns the images of the axes, in the order they were added."""
    return [np.asarray(image.get_array()) for ax in figure.axes for image in ax.images]


def overlaps(figure):
    """Returns pairs of overlapping texts, and texts outside of the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [*figure.texts, *(ax.title for ax in figure.axes if ax.get_title())]
    boxes = {text.get_text(): text.get_window_extent(canvas.get_renderer()) for text in texts}
    clipped = [
        name
        for name, box in boxes.items()
        if box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1
    ]
    pairs = combinations(boxes, 2)
    return clipped + [pair for pair in pairs if boxes[pair[0]].overlaps(boxes[pair[1]])]


def test_each_head_is_shown_in_three_ways():
    figure = draw_attention_figure(picture(), make_maps(), 0.6, notes=["cat.jpg"])
    assert titles(figure) == ["image", "mean of 3 heads", "head 0", "head 1", "head 2"]
    texts = [text.get_text() for text in figure.texts]
    for label in ("attention", "overlay", "60 % mask", "peak of the map"):
        assert label in texts
    assert any("cat.jpg\n56 \u00d7 40 px" in text for text in texts)
    shown = [array for array in pictures(figure) if array.ndim == 3]
    assert len(shown) == 1 + 4 * 3
    for first, second in combinations(shown, 2):
        assert not np.array_equal(first, second)


def test_titles_state_the_peak_relative_to_uniform_attention():
    maps = torch.ones(1, 2, 2)
    maps[0, 0, 0] = 5
    figure = draw_attention_figure(picture(), maps, 0.6)
    assert [ax.get_title() for ax in figure.axes if "head 0" in ax.get_title()] == [
        "head 0\npeak 2.5 \u00d7 even"
    ]


def test_some_heads_only():
    figure = draw_attention_figure(picture(), make_maps(6), 0.6, heads=[4, 1])
    assert titles(figure) == ["image", "mean of 6 heads", "head 4", "head 1"]


def test_a_head_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no head 3, -1: the network has 3 heads, 0 to 2"):
        draw_attention_figure(picture(), make_maps(), 0.6, heads=[3, -1])


@pytest.mark.parametrize(("heads", "shape"), [(2, (40, 56)), (12, (90, 30)), (3, (16, 160))])
def test_no_text_of_a_figure_covers_another_or_is_clipped(heads, shape):
    notes = ["a_photograph_with_quite_a_long_name_of_its_own", "teacher of epoch_100.pth"]
    figure = draw_attention_figure(picture(0, *shape), make_maps(heads), 0.6, notes=notes)
    assert overlaps(figure) == []


def test_attention_has_the_colours_from_nothing_to_its_peak():
    maps = torch.tensor([[[0.0, 0.02], [0.04, 0.01]]])
    (panel,) = draw_panels(picture(0, 40, 40), maps, 0.6)
    corners = panel["attention"][[0, 0, -1, -1], [0, -1, 0, -1]]
    expected = colorize(np.array([[0, 0.5, 1, 0.25]]))[0]
    np.testing.assert_allclose(corners, expected, atol=1)


def test_an_overlay_mixes_image_and_attention_and_outlines_the_mask():
    image = np.full((300, 300, 3), 200, np.uint8)
    heat, mask = np.zeros((300, 300)), np.zeros((300, 300), bool)
    heat[:, 150:] = 1
    mask[:, 150:] = True
    plain, marked = overlay(image, heat), overlay(image, heat, mask)
    assert plain[0, 0].mean() < plain[0, -1].mean()
    changed = (plain != marked).any(2)
    assert changed[:, 150].all()
    assert not changed[:, :148].any()
    assert not changed[10:-10, 160:-10].any()
    np.testing.assert_array_equal(image, 200)


def test_the_image_is_kept_within_the_mask():
    image, mask = picture(), np.zeros((40, 56), bool)
    mask[10:20] = True
    found = darken_outside(image, mask)
    np.testing.assert_array_equal(found[mask], image[mask])
    assert (found[~mask] <= 64).all()


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((32, 40), (256, 320)),
        ((300, 500), (300, 500)),
        ((960, 1200), (480, 600)),
        ((10, 900), (20, 1800)),
    ],
)
def test_small_images_are_enlarged_and_large_ones_reduced(shape, drawn):
    assert to_canvas(np.zeros((*shape, 3), np.uint8)).shape == (*drawn, 3)


def test_grid_of_photographs_and_networks():
    images = [picture(0), picture(1, 64, 32), picture(2, 16, 16)]
    networks = {
        name: [make_maps(seed=10 * number + row) for row in range(3)]
        for number, name in enumerate(("trained", "untrained, seed 0"))
    }
    figure = draw_attention_grid(images, networks, 0.6, heads=[2])
    columns = ["mean of 3 heads", "its 60 % mask", "head 2"]
    assert sorted(titles(figure)) == sorted([*columns, "image", *columns])
    assert {"trained", "untrained, seed 0"} <= {text.get_text() for text in figure.texts}
    shown = pictures(figure)
    assert len(shown) == 3 * (1 + 2 * 3)
    for first, second in combinations(shown, 2):
        assert not np.array_equal(first, second)
    assert overlaps(figure) == []


@pytest.mark.parametrize("heads", [[], [0, 1, 2]])
def test_grid_of_one_network_has_no_heading(heads):
    figure = draw_attention_grid([picture()], {"trained": [make_maps()]}, 0.6, heads)
    assert "trained" not in [text.get_text() for text in figure.texts]
    assert len(pictures(figure)) == 3 + len(heads)
    assert overlaps(figure) == []


def test_a_grid_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no image to draw"):
        draw_attention_grid([], {"trained": []}, 0.6)


def test_frames_share_one_scale_of_colours():
    faint, strong = torch.full((5, 7), 0.01), torch.full((5, 7), 0.01)
    strong[0, 0] = 0.1
    frames = list(attention_frames([picture(), picture()], torch.stack([faint, strong]), 0.6))
    assert [frame.shape for frame in frames] == [(240, 2 * 336, 3)] * 2
    for frame in frames:
        np.testing.assert_array_equal(frame[:, :336], to_canvas(picture()))
    overlays = [frame[:, 336:].astype(int) for frame in frames]
    inside = (slice(100, 130), slice(170, 180))
    assert abs(overlays[0][inside] - overlays[1][inside]).max() < 60
    assert overlays[1][10, 10].mean() > overlays[0][10, 10].mean() + 50


def test_files_are_complete_and_no_temporary_file_is_left(tmp_path):
    figure = draw_attention_figure(picture(), make_maps(), 0.6)
    for suffix in (".png", ".jpg", ".pdf", ".svg"):
        write_figure(figure, tmp_path / f"cat{suffix}")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cat.jpg",
        "cat.pdf",
        "cat.png",
        "cat.svg",
    ]
    assert np.asarray(Image.open(tmp_path / "cat.png").convert("L")).std() > 20
    assert matplotlib.pyplot.get_fignums() == []


def test_a_name_with_dollar_signs_is_drawn_as_it_is(tmp_path):
    figure = draw_attention_figure(picture(), make_maps(), 0.6, notes=["a$x^{$b.png"])
    write_figure(figure, tmp_path / "a.png")
    networks = {"a$x^{$b": [make_maps()], "c": [make_maps()]}
    write_figure(draw_attention_grid([picture()], networks, 0.6), tmp_path / "b.png")


def test_other_formats_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"suffix must be one of \.jpg"):
        write_figure(draw_attention_figure(picture(), make_maps(), 0.6), tmp_path / "cat.bmp")

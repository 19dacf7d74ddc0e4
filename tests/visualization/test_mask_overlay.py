"""Masks as palette PNGs and on frames."""

from __future__ import annotations

import numpy as np
from PIL import Image
from tiny_vit import picture

from mmdino.visualization.mask_overlay import draw_objects, voc_palette, write_palette_png


def test_the_palette_is_that_of_voc():
    palette = voc_palette()
    assert palette.shape == (256, 3)
    expected = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 8: (64, 0, 0)}
    for label, color in {**expected, 255: (224, 224, 192)}.items():
        assert tuple(palette[label]) == color


def test_labels_come_back_from_their_png(tmp_path):
    labels = np.random.default_rng(0).integers(0, 5, (9, 7)).astype(np.uint8)
    write_palette_png(tmp_path / "new" / "a.png", labels)
    image = Image.open(tmp_path / "new" / "a.png")
    assert image.mode == "P"
    np.testing.assert_array_equal(image, labels)
    np.testing.assert_array_equal(image.convert("RGB"), voc_palette()[labels])


def test_objects_are_coloured_and_outlined_and_nothing_else():
    frame = picture()
    labels = np.zeros(frame.shape[:2], np.uint8)
    labels[5:15, 10:30] = 2
    drawn = draw_objects(frame, labels)
    np.testing.assert_array_equal(drawn[labels == 0], frame[labels == 0])
    np.testing.assert_array_equal(drawn[5, 10:30], np.full((20, 3), 255))
    inner = drawn[8, 15].astype(int)
    np.testing.assert_allclose(inner, (frame[8, 15] + np.array([0, 128, 0])) / 2, atol=0.5)

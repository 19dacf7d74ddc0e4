"""Which images are taken, and how they enter a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_weights
import torch
from tiny_vit import OWN, picture

from mmdino.diagnostics.images import (
    batch_input,
    crop_and_resize,
    even_batches,
    find_images,
)
from mmdino.visualization.media import write_image


def test_images_below_a_folder_evenly_spaced(tmp_path):
    for name in ("a/0.png", "a/1.png", "b/2.png", "b/3.png", "4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_image(tmp_path / name, picture())
    (tmp_path / "notes.txt").touch()
    assert len(find_images(tmp_path)) == 5
    taken = [path.name for path in find_images(tmp_path, 2)]
    assert taken == [find_images(tmp_path)[index].name for index in (0, 2)]
    assert len(find_images(tmp_path, 9)) == 5
    assert find_images(tmp_path / "4.png") == [tmp_path / "4.png"]


@pytest.mark.parametrize("count", [1, 4, 9, 16, 17])
def test_batches_are_even(count):
    batches = list(even_batches([Path(str(index)) for index in range(count)], 8))
    sizes = [len(batch) for batch in batches]
    assert sum(sizes) == count
    assert max(sizes) <= 8
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
@pytest.mark.parametrize("size", [(40, 56), (300, 33), (11, 200), (1, 1)])
def test_any_image_enters_at_the_same_shape(shape, size):
    image = crop_and_resize(picture(0, *size), shape)
    assert batch_input([image] * 2, shape, tiny_weights.vit()).shape == (2, 3, *shape)


def test_images_enter_with_the_statistics_of_the_network():
    image = np.full((16, 16, 3), 200, np.uint8)
    found = batch_input([image], (16, 16), tiny_weights.vit(), OWN)
    expected = (200 - torch.tensor(OWN.mean)) / torch.tensor(OWN.std)
    torch.testing.assert_close(found, expected[:, None, None].expand(1, 3, 16, 16))


def test_the_centre_is_kept():
    image = np.zeros((12, 12, 3), np.uint8)
    image[3:9] = 200
    # At the border it is interpolated with what is outside.
    assert (crop_and_resize(image, (12, 24))[4:8] == 200).all()
    assert (crop_and_resize(image, (12, 24)) > 100).all()
    assert (crop_and_resize(image, (12, 12)) == image).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_channels_are_resized_as_colours_are(channels, dtype):
    """An edge overshoots, and stays within 0 and 255."""
    image = np.zeros((12, 12, 3), np.uint8)
    image[3:9] = 255
    expected = crop_and_resize(image, (20, 30))[..., :1].repeat(channels, 2)
    found = crop_and_resize(image[..., :1].repeat(channels, 2).astype(dtype), (20, 30))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol=1)
    assert found.min() >= 0
    assert found.max() <= 255

"""Images of any shape enter a network as multiples of the patch, at a size worth looking at."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from mmdino.evaluation.image_input import input_shape, reference_size, viewing_size


@pytest.mark.parametrize(("height", "width", "size"), [(9, 7, None), (90, 90, 7)])
def test_smaller_than_a_patch_is_explained(height, width, size):
    message = f"{width} x {height} pixels .* side of 7, less than a patch of 8.* at least 8"
    with pytest.raises(ValueError, match=message):
        input_shape(height, width, 8, size)


def test_size_to_look_at_is_480_for_224_and_in_proportion():
    assert reference_size(SimpleNamespace(img_size=(224, 224))) == 480
    small = SimpleNamespace(img_size=(32, 32))
    assert reference_size(small) == 69
    assert viewing_size(small, np.zeros((50, 300, 3))) == 50
    assert viewing_size(small, np.zeros((500, 300, 3))) == 69


def test_a_network_without_an_image_size_counts_as_one_of_224():
    assert reference_size(nn.Conv2d(3, 8, 3)) == 480

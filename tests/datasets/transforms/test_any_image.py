"""Properties of the views of any image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdino.datasets.samplers import SeededIndex
from mmdino.datasets.transforms import MultiCropTransform, PackViews

FAST = settings(derandomize=True, deadline=None, max_examples=40)
VIEWS = (
    {"num": 2, "size": (9, 7), "scale": (0.4, 1.0), "blur_prob": 0.5, "solarize_prob": 0.5},
    {"num": 1, "size": 5, "scale": (0.05, 0.4), "blur_prob": 0.5},
)
WITHOUT_COLOR = [{**group, "saturation": 0, "hue": 0, "gray_prob": 0} for group in VIEWS]
LAYOUTS = {
    "contiguous": np.ascontiguousarray,
    "fortran": np.asfortranarray,
    "mirrored": lambda image: image[:, ::-1],
    "every second row": lambda image: np.repeat(image, 2, axis=0)[::2],
    "read-only": lambda image: np.frombuffer(image.tobytes(), image.dtype).reshape(image.shape),
}
SIDES = st.one_of(st.integers(1, 12), st.integers(1, 300))


@st.composite
def images(draw):
    """Images of any size, number of channels, type and layout in memory."""
    channels = draw(st.integers(1, 8))
    dtype = draw(st.sampled_from([np.uint8, np.uint16]))
    shape = (draw(SIDES), draw(SIDES), channels)
    if channels == 1 and draw(st.booleans()):
        shape = shape[:2]
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    image = rng.integers(np.iinfo(dtype).max, size=shape, dtype=dtype, endpoint=True)
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](image)


def views_of(image, color, seed):
    views = VIEWS if image.ndim == 3 and image.shape[2] == 3 else WITHOUT_COLOR
    sample = {"img": image, "sample_idx": SeededIndex(0, seed)}
    return MultiCropTransform(views=views, color=color)(sample)


@FAST
@given(images(), st.sampled_from(["sequential", "fused"]), st.tuples(st.integers(0, 2**40)))
def test_views_have_the_sizes_asked_for_and_depend_on_the_seed_alone(image, color, seed):
    before = image.copy()
    sample = views_of(image, color, seed)
    channels = image.shape[2] if image.ndim == 3 else 1
    assert [view.shape for view in sample["img"]] == [(9, 7, channels)] * 2 + [(5, 5, channels)]
    assert all(view.dtype == np.uint8 and view.flags.c_contiguous for view in sample["img"])
    np.testing.assert_array_equal(image, before)
    again = views_of(before, color, seed)
    assert all(map(np.array_equal, sample["img"], again["img"]))


@FAST
@given(images(), st.tuples(st.integers(0, 2**40)))
def test_packed_views_are_the_views_channels_first(image, seed):
    sample = views_of(image, "sequential", seed)
    views = list(sample["img"])
    packed = PackViews(meta_keys=())(sample)["inputs"]
    for tensor, view in zip(packed, views, strict=True):
        assert tensor.dtype == torch.uint8
        np.testing.assert_array_equal(tensor.numpy(), np.moveaxis(view, -1, 0))


@FAST
@given(images())
def test_packing_takes_any_layout(image):
    packed = PackViews(meta_keys=())({"img": image})["inputs"]
    expected = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    np.testing.assert_array_equal(packed.numpy(), expected)


OTHER_TYPES = (
    "bool int8 int16 int32 int64 uint32 uint64 >u2 float16 float32 float64 complex64 object S1"
)


@pytest.mark.parametrize("dtype", OTHER_TYPES.split())
def test_other_types_are_refused(dtype):
    image = np.zeros((6, 6, 3), np.uint8).astype(dtype)
    with pytest.raises(TypeError, match=r"needs results\['img'\] to be a uint8 or uint16 array"):
        views_of(image, "sequential", (0,))


@pytest.mark.parametrize("shape", [(), (6,), (0, 6, 3), (6, 0, 3), (6, 6, 0), (2, 6, 6, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"non-empty results\['img'\] of shape \(H, W\)"):
        MultiCropTransform(views=WITHOUT_COLOR)({"img": np.zeros(shape, np.uint8)})

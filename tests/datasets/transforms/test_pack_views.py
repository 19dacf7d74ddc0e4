"""PackViews equals mmpretrain's PackInputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import TRANSFORMS


def pack(kind: str, image) -> dict:
    sample = {"img": image, "img_path": "a.jpg", "sample_idx": 3, "gt_label": 2}
    return TRANSFORMS.build({"type": kind})(sample)


def draw(*shape: int, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8])
def test_views_are_packed_as_by_mmpretrain(channels):
    views = [draw(12, 16, channels), draw(6, 5, channels)]
    ours, theirs = pack("mmdino.PackViews", views), pack("PackInputs", views)
    for found, expected, view in zip(ours["inputs"], theirs["inputs"], views, strict=True):
        assert torch.equal(found, expected)
        assert found.is_contiguous()
        assert not np.shares_memory(found.numpy(), view)
    assert ours["data_samples"].metainfo == theirs["data_samples"].metainfo
    assert torch.equal(ours["data_samples"].gt_label, theirs["data_samples"].gt_label)


@pytest.mark.parametrize(
    "image",
    [draw(6, 5, 3), draw(6, 5), draw(6, 5, 3, dtype=np.float32), draw(6, 5, 3)[:, ::-1]],
    ids=["colour", "grey", "float", "mirrored"],
)
def test_single_images_are_packed_as_by_mmpretrain(image):
    found = pack("mmdino.PackViews", image)["inputs"]
    assert torch.equal(found, pack("PackInputs", image)["inputs"])


def test_what_is_no_image_is_refused():
    with pytest.raises(TypeError, match="Unsupported input type"):
        pack("mmdino.PackViews", ["a.jpg"])


def test_undistorted_crops_are_packed_beside_the_views():
    views, clean = [draw(6, 5, 3), draw(6, 5, 3)], [draw(12, 10, 3)]
    sample = {"img": views, "clean_img": clean}
    packed = TRANSFORMS.build({"type": "mmdino.PackViews"})(sample)
    assert packed.keys() == {"inputs", "data_samples", "clean_views"}
    (found,) = packed["clean_views"]
    assert torch.equal(found, torch.from_numpy(clean[0]).permute(2, 0, 1))

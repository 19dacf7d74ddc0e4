"""Images of a report, and what networks of any kind find among them."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_run
import tiny_tools
from mmengine.registry import DATASETS, MODELS, init_default_scope

from mmdino.report.pictures import Images, images_of, neighbours_of

RESIZED = [dict(type="ResizeEdge", scale=16), dict(type="CenterCrop", crop_size=16)]
VIEWS = dict(
    type="mmdino.MultiCropTransform", views=[dict(num=2, size=16, scale=(0.1, 0.2), gray_prob=1)]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for seed in range(3):
        tiny_tools.write_image(root / f"{seed}.png", 32, 48, seed=seed)
    return root


def build(folder, *steps):
    init_default_scope("mmpretrain")
    pipeline = [dict(type="LoadImageFromFile"), *steps]
    return DATASETS.build(dict(type="mmdino.ImageFolder", data_root=str(folder), pipeline=pipeline))


def test_images_are_whole_where_the_validation_gives_views(folder):
    of_views = images_of(build(folder, VIEWS, dict(type="mmdino.PackViews")), 2, bgr=True)
    whole = images_of(build(folder, *RESIZED, dict(type="PackInputs")), 2, bgr=True)
    assert of_views.names == whole.names
    assert of_views.source == "2 of the 3 images of the validation"
    for shown, expected in zip(of_views.pixels, whole.pixels, strict=True):
        # Interpolated otherwise: what is the same is which part, and the order of the channels.
        assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.6


@pytest.mark.parametrize(
    "config",
    [
        dict(type="DeiT3", arch=tiny_run.ARCH, img_size=16, patch_size=8),
        dict(type="ResNet_CIFAR", depth=18, base_channels=4, stem_channels=4),
    ],
    ids=["class token of mmpretrain", "map"],
)
def test_neighbours_are_found_by_any_backbone(config):
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (16, 16, 3)).astype(np.uint8) for _ in range(3)]
    images = Images([*pixels, pixels[0]], ["a", "b", "c", "a again"], [], "noise")
    backbone = MODELS.build({**config, "_scope_": "mmpretrain"})
    backbone.eval()
    assert neighbours_of(backbone, images, queries=1, k=2, iteration=0).index[0, 0] == 3

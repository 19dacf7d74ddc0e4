"""Images of a report are whole, also where the validation gives views of them."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_tools
from mmengine.registry import DATASETS, init_default_scope

from mmdino.report.pictures import images_of

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

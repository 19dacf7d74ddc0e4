"""The chains that are compared make the same kind of views."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from common.view_chains import chains


@pytest.fixture
def photograph(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / "a.jpg"), image)
    return tmp_path / "a.jpg"


def test_chains_make_the_same_kind_of_views(photograph):
    sizes = [(3, 224, 224)] * 2 + [(3, 96, 96)] * 8
    ours = chains()["mmdino"](str(photograph))["inputs"]
    pillows = chains()["Pillow + torchvision, uint8"](str(photograph))
    papers = chains()["Pillow + torchvision"](str(photograph))
    for views, dtype in ((ours, torch.uint8), (pillows, torch.uint8), (papers, torch.float32)):
        assert [tuple(view.shape) for view in views] == sizes
        assert {view.dtype for view in views} == {dtype}

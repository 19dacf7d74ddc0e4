"""Configs read from their text."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmdino.utils.config_text import literal_config, short_type


def test_what_mmengine_writes_is_read_back():
    values = {
        "model": {"type": "A", "sizes": [1, 2.5, -3, None, True], "nested": {"a/b": {"c": "d"}}},
        "resume": False,
    }
    assert literal_config(Config(values).pretty_text) == values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\nx = os.system('true')\ny = 1", {"x": None, "y": 1}),
        ("x = dict(a=open('f'), b=[f(), 2])", {"x": {"a": None, "b": [None, 2]}}),
        ("not python (", {}),
        ("x = " + "(" * 5000, {}),
        ("x = '\0'", {}),
    ],
)
def test_nothing_is_executed(text, expected):
    assert literal_config(text) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mmdino.models.VisionTransformer", "mmdino.VisionTransformer"),
        ("mmpretrain.models.backbones.vision_transformer.MAEViT", "mmpretrain.MAEViT"),
        ("mmcv.transforms.LoadImageFromFile", "LoadImageFromFile"),
        ("mmdino.VisionTransformer", "mmdino.VisionTransformer"),
        ("torch.nn.modules.normalization.LayerNorm", "torch.nn.modules.normalization.LayerNorm"),
        ("ResNet", "ResNet"),
        (3, 3),
    ],
)
def test_types_with_their_modules_are_named_as_in_the_registry(name, expected):
    assert short_type(name) == expected
    assert literal_config(f"a = [dict(b=dict(type={name!r}))]") == {
        "a": [{"b": {"type": expected}}]
    }

"""An exported backbone gives the same features in onnxruntime."""

from __future__ import annotations

import onnxruntime
import pytest
import tiny_weights
import torch
from mmengine.registry import MODELS

from converters.onnx_export import export_onnx
from mmdino.evaluation.features import feature_of

RESNET = {"type": "mmdino.ResNet", "depth": 18, "base_channels": 8, "stem_channels": 8}


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("size", [(32, 32), (16, 48)])
def test_vit_at_the_size_it_was_made_for_and_at_another(tmp_path, size):
    vit = tiny_weights.vit()
    before = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
    assert export_onnx(vit, tmp_path / "vit.onnx", noise(2, 3, *size), tolerance=1e-5) < 1e-5
    images = noise(2, 3, *size) + 1
    session = onnxruntime.InferenceSession(str(tmp_path / "vit.onnx"))
    (features,) = session.run(["features"], {"images": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(features), feature_of(vit, images))
    assert all(torch.equal(before[name], value) for name, value in vit.state_dict().items())


@pytest.mark.parametrize("name", ["dinov2_registers", "dinov2_swiglu", "dinov3", "dinov3_swiglu"])
def test_vits_of_dinov2_and_dinov3(tmp_path, name):
    vit = tiny_weights.vit(**{**tiny_weights.DINOV2, **tiny_weights.DINOV3}[name])
    assert export_onnx(vit, tmp_path / "vit.onnx", noise(2, 3, 16, 48), tolerance=1e-5) < 1e-5


def test_resnet(tmp_path):
    resnet = MODELS.build(RESNET | {"out_indices": (3,)})
    resnet.eval()
    assert export_onnx(resnet, tmp_path / "r.onnx", noise(1, 3, 64, 32), tolerance=1e-5) < 1e-5


def test_a_difference_above_the_tolerance_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"allowed is -1\. Nothing was written"):
        export_onnx(tiny_weights.vit(), tmp_path / "a.onnx", noise(1, 3, 32, 32), tolerance=-1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(4, 32), (32, 36)])
def test_a_size_that_does_not_fit_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match="expected multiples of the patch"):
        export_onnx(tiny_weights.vit(), tmp_path / "a.onnx", noise(1, 3, *size), tolerance=1e-5)

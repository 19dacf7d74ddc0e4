"""The SwinV2 of mmpretrain with this project's loading."""

from __future__ import annotations

import logging

import pytest
import torch
from mmengine.registry import MODELS

from mmdino.weights import pretrained

CFG = {
    "arch": {
        "embed_dims": 4,
        "depths": [1, 1],
        "num_heads": [1, 2],
        "extra_norm_every_n_blocks": 0,
    },
    "img_size": 16,
    "window_size": 2,
    "out_indices": (1,),
}


@pytest.fixture
def student():
    return MODELS.build({"type": "mmpretrain.SwinTransformerV2", **CFG})


@pytest.fixture
def ours(student, tmp_path):
    """Config of the network that starts from the student's checkpoint."""
    path = tmp_path / "epoch_1.pth"
    state = {f"backbone.{name}": tensor for name, tensor in student.state_dict().items()}
    torch.save({"state_dict": state, "meta": {}}, path)
    init_cfg = {"type": "Pretrained", "checkpoint": str(path)}
    return {"type": "mmdino.SwinTransformerV2", **CFG, "init_cfg": init_cfg}


def test_a_distilled_student_is_loaded_and_another_network_refused(student, ours):
    loaded = MODELS.build(ours)
    loaded.init_weights()
    student.eval(), loaded.eval()
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(images)[0], student(images)[0])
    wider = {**CFG["arch"], "embed_dims": 8}
    with pytest.raises(ValueError, match="patch_embed"):
        MODELS.build({**ours, "arch": wider}).init_weights()


def test_larger_windows_keep_the_weights_and_the_meaning_of_distances(student, ours, monkeypatch):
    warnings = []
    monkeypatch.setattr(
        pretrained,
        "print_log",
        lambda text, level=logging.INFO, **_: warnings.extend([text] * (level == logging.WARNING)),
    )
    larger = ours | {"img_size": 32, "window_size": 4}
    loaded = MODELS.build(larger | {"pretrained_window_sizes": [2, 2]})
    loaded.init_weights()
    weights = dict(loaded.named_parameters())
    assert all(torch.equal(weights[name], value) for name, value in student.named_parameters())
    name = "stages.0.blocks.0.attn.w_msa.relative_coords_table"
    tables = loaded.get_buffer(name), student.get_buffer(name)
    assert torch.allclose(tables[0][:, 2:5, 2:5], tables[1])
    loaded.eval()
    assert loaded(torch.ones(1, 3, 32, 32))[0].shape == (1, 8, 4, 4)
    assert not warnings
    # Without it, the distance of neighbours would be a third of what it was.
    MODELS.build(larger).init_weights()
    (warning,) = warnings
    assert "trained with windows of [2, 2]" in warning
    assert "Set model.backbone.pretrained_window_sizes=[2, 2]" in warning

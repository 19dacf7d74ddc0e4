"""The SwinV2 of mmpretrain with this project's loading."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

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


def test_a_distilled_student_is_loaded_and_another_network_refused(tmp_path):
    student = MODELS.build({"type": "mmpretrain.SwinTransformerV2", **CFG})
    path = tmp_path / "epoch_1.pth"
    state = {f"backbone.{name}": tensor for name, tensor in student.state_dict().items()}
    torch.save({"state_dict": state, "meta": {}}, path)
    pretrained = {"type": "Pretrained", "checkpoint": str(path)}
    ours = {"type": "mmdino.SwinTransformerV2", **CFG, "init_cfg": pretrained}
    loaded = MODELS.build(ours)
    loaded.init_weights()
    student.eval(), loaded.eval()
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(images)[0], student(images)[0])
    wider = {**CFG["arch"], "embed_dims": 8}
    with pytest.raises(ValueError, match="patch_embed"):
        MODELS.build({**ours, "arch": wider}).init_weights()

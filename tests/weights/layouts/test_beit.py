"""ViTs with tables of relative positions are read as BEiT and feature distillation write them."""

from __future__ import annotations

import pytest
import timm
import tiny_distillation
import tiny_weights
import torch
from mmengine.registry import MODELS

from mmdino.weights.layouts import beit
from mmdino.weights.networks import backbone_weights, build_backbone, load_backbone


def test_features_are_timms(tmp_path):
    """Its table of each block, and its mean of patches without a norm of all tokens."""
    model = timm.create_model("beit_base_patch16_224", depth=2, embed_dim=64, num_heads=2).eval()
    tiny_weights.randomise(model)
    state = model.state_dict()
    # As the authors of BEiT write it.
    index = model.blocks[0].attn.relative_position_index
    state["blocks.0.attn.relative_position_index"] = index
    torch.save({"model": state}, tmp_path / "beit.pth")
    weights = backbone_weights(tmp_path / "beit.pth")
    assert weights.config["position_encoding_per_block"]
    assert weights.config["arch"]["num_heads"] == 2
    assert not weights.config["final_norm"]
    assert not weights.config["key_bias"]
    assert weights.unused[-5:] == (
        "fc_norm.weight",
        "fc_norm.bias",
        "head.weight",
        "head.bias",
        "blocks.0.attn.relative_position_index",
    )
    ours = build_backbone(weights.config, weights.state_dict)
    ours.out_type = "raw"
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.forward_features(images)
        torch.testing.assert_close(ours(images)[-1], expected, rtol=1e-5, atol=2e-4)


@pytest.fixture
def authors_file(golden, tmp_path):
    """A checkpoint of the authors of feature distillation, with the teacher in it."""
    expected = golden("distillation", "dino/")
    state = {
        **golden("distillation", "dino/student/"),
        "encoder.rel_pos_bias.relative_position_index": torch.zeros(10, 10, dtype=torch.long),
        **{f"teacher.{n}": t for n, t in golden("distillation", "dino/teacher/").items()},
    }
    torch.save({"model": state, "epoch": 299}, tmp_path / "ckpt_epoch_299.pth")
    return tmp_path / "ckpt_epoch_299.pth", expected


def test_a_student_of_the_authors_gives_the_references_features(authors_file):
    path, expected = authors_file
    weights = backbone_weights(path)
    assert "a feature distillation of its authors" in weights.layout
    assert weights.config["layer_scale_init_value"]
    assert "head" not in weights.unused
    backbone = load_backbone(path).double()
    backbone.load_state_dict(weights.state_dict)
    backbone.out_type = "raw"
    found = backbone(expected["images"])[-1]
    torch.testing.assert_close(found, expected["student_features"], rtol=0, atol=1e-9)


def test_a_student_of_the_authors_is_a_start_for_fine_tuning(authors_file):
    """Each block gets a copy of the table that they shared."""
    init = {"type": "Pretrained", "checkpoint": str(authors_file[0])}
    cfg = tiny_distillation.student(position_encoding_per_block=True, init_cfg=init)
    backbone = MODELS.build(cfg)
    backbone.init_weights()
    table = load_backbone(authors_file[0]).position_encoding.table
    for layer in backbone.layers:
        assert torch.equal(layer.position_encoding.table, table)


def test_names_of_shared_tables_and_tables_of_blocks():
    tensors = {"blocks.11.attn.relative_position_bias_table": 1}
    assert beit.has_tables(tensors)
    assert beit.has_tables({"rel_pos_bias.relative_position_bias_table": 1})
    assert not beit.has_tables({"layers.0.blocks.0.attn.relative_position_bias_table": 1})

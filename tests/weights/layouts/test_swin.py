"""Swins of their authors, of EsViT and of timm are mmpretrain's."""

from __future__ import annotations

import pytest
import timm
import tiny_weights
import torch
from mmengine.registry import MODELS

from mmdino.weights.pretrained import load_pretrained

SIZES = {"depths": (2, 1, 2, 1), "num_heads": (1, 1, 2, 2)}
IMAGES = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))


def swin(**options):
    """mmpretrain's Swin with a window of 7 on maps of 28, 14, 7 and 4 places."""
    return {
        "type": "mmpretrain.SwinTransformer",
        "arch": {"embed_dims": 8, **{name: list(value) for name, value in SIZES.items()}},
        "img_size": 112,
        "window_size": 7,
        "drop_path_rate": 0.0,
        **options,
    }


@pytest.fixture(scope="module")
def timms():
    model = timm.create_model(
        "swin_tiny_patch4_window7_224", embed_dim=8, img_size=112, num_classes=3, **SIZES
    ).eval()
    tiny_weights.randomise(model)
    return model


def loaded(cfg, path, **options):
    model = MODELS.build(cfg)
    load_pretrained(model, {"checkpoint": str(path), **options})
    model.eval()
    return model


LAST = {"stage_cfgs": [{}, {}, {}, {"block_cfgs": {"window_size": 4}}]}


def assert_same_features(ours, theirs):
    with torch.no_grad():
        expected = theirs.forward_features(IMAGES).movedim(-1, 1)
        torch.testing.assert_close(ours(IMAGES)[-1], expected, rtol=0, atol=2e-5)


def test_features_are_timms(tmp_path, timms):
    torch.save(timms.state_dict(), tmp_path / "timm.pth")
    assert_same_features(loaded(swin(**LAST), tmp_path / "timm.pth"), timms)


def as_authors(state):
    """Names of Swin's authors, who merge patches at the end of a stage, and what they save."""
    renamed = {
        name.replace(f"layers.{i}.downsample", f"layers.{i - 1}.downsample"): tensor
        for name, tensor in state.items()
        for i in [int(name.split(".")[1]) if name.startswith("layers.") else 0]
    }
    index = {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49).long()}
    mask = {"layers.0.blocks.1.attn_mask": torch.zeros(16, 49, 49)}
    return {**renamed, **index, **mask}


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_features_of_esvit_s_file_are_timms(tmp_path, timms, network):
    state = {f"module.{name}": tensor for name, tensor in as_authors(timms.state_dict()).items()}
    state["module.head_dense.mlp.0.weight"] = torch.ones(4, 64)
    others = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
    both = {"student": others, "teacher": others, network: state, "epoch": 300}
    torch.save(both, tmp_path / "esvit.pth")
    ours = loaded(swin(**LAST), tmp_path / "esvit.pth", network=network)
    assert_same_features(ours, timms)


def test_a_window_that_is_not_the_files_is_refused(tmp_path, timms):
    torch.save(timms.state_dict(), tmp_path / "timm.pth")
    with pytest.raises(ValueError, match=r"bias_table \(49, 2\) instead of \(169, 2\)"):
        loaded(swin(), tmp_path / "timm.pth")

"""The names of Hugging Face's ViTModel, old and new, are converted and back."""

from __future__ import annotations

import pytest
import tiny_weights
import torch
from transformers import ViTConfig, ViTModel

from mmdino.weights.layouts import huggingface_vit

CONFIG = {**tiny_weights.VIT, "patch_size": 8, "in_channels": 3}


def test_names_come_back():
    state = tiny_weights.vit().state_dict()
    back = huggingface_vit.to_mmdino(huggingface_vit.from_mmdino(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_what_the_model_does_not_have_is_left_out():
    state = tiny_weights.vit(local_norm=True, mask_token=True).state_dict()
    back = huggingface_vit.to_mmdino(huggingface_vit.from_mmdino(state))
    assert state.keys() - back.keys() == {"local_ln1.weight", "local_ln1.bias", "mask_token"}
    assert back.keys() < state.keys()


def test_names_of_a_model_in_memory_are_read():
    settings = ViTConfig(**huggingface_vit.huggingface_config(CONFIG))
    model = ViTModel(settings, add_pooling_layer=False).eval()
    tiny_weights.randomise(model)
    vit = tiny_weights.vit()
    vit.load_state_dict(huggingface_vit.to_mmdino(model.state_dict()))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(images).last_hidden_state[:, 0]
        torch.testing.assert_close(vit(images)[-1], expected, rtol=0, atol=1e-5)


def test_a_block_without_its_keys_keeps_names_that_show_it():
    tensors = huggingface_vit.from_mmdino(tiny_weights.vit().state_dict())
    del tensors["encoder.layer.0.attention.attention.key.weight"]
    names = huggingface_vit.to_mmdino(tensors)
    assert "layers.0.attn.query.weight" in names
    assert "layers.0.attn.qkv.weight" not in names
    assert "layers.0.attn.qkv.bias" in names


def test_config_comes_back():
    back = huggingface_vit.backbone_config(huggingface_vit.huggingface_config(CONFIG))
    assert back.pop("norm_cfg") == {"type": "LN", "eps": 1e-6}
    assert back.pop("qkv_bias")
    assert back.pop("ffn") == "mlp"
    assert back == CONFIG


def test_the_eps_of_a_published_config_is_kept():
    config = huggingface_vit.backbone_config({"model_type": "vit"})
    assert config["norm_cfg"]["eps"] == ViTConfig().layer_norm_eps == 1e-12


@pytest.mark.parametrize(
    "config", [{"model_type": "dinov2"}, {"model_type": "vit", "hidden_act": "relu"}, {}]
)
def test_other_models_are_refused(config):
    with pytest.raises(ValueError, match="expected a ViTModel"):
        huggingface_vit.backbone_config(config)

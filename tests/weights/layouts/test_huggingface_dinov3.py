"""DINOv3ViTModel with random weights is read and computes the same at any size."""

from __future__ import annotations

import pytest
import tiny_weights
import torch
from transformers import DINOv3ViTConfig, DINOv3ViTModel

from mmdino.weights.layouts import huggingface_dinov3
from mmdino.weights.networks import backbone_weights, build_backbone
from mmdino.weights.specs import vit_config

SIZES = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3}
MODELS = {
    "mlp": {"num_register_tokens": 4, "intermediate_size": 192},
    "swiglu": {"use_gated_mlp": True, "hidden_act": "silu", "intermediate_size": 128},
    "no_bias": {"query_bias": False, "value_bias": False, "intermediate_size": 96},
    "key_bias": {"key_bias": True, "intermediate_size": 96, "rope_theta": 50.0},
}


@pytest.fixture(params=MODELS)
def model(request):
    built = DINOv3ViTModel(DINOv3ViTConfig(**SIZES, **MODELS[request.param])).eval()
    tiny_weights.randomise(built)
    return built


def test_features_are_those_of_transformers(tmp_path, model):
    model.save_pretrained(tmp_path)
    weights = backbone_weights(tmp_path)
    ours = build_backbone(weights.config, weights.state_dict)
    for size in ((224, 224), (512, 512), (48, 80)):
        images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = model(images).last_hidden_state[:, 0]
            torch.testing.assert_close(ours(images)[-1], expected, rtol=0, atol=2e-5)


def test_names_of_a_model_in_memory_are_read_too(tmp_path, model):
    model.save_pretrained(tmp_path)
    expected = backbone_weights(tmp_path).state_dict
    torch.save(model.state_dict(), tmp_path / "memory.pth")
    found = backbone_weights(tmp_path / "memory.pth", num_heads=3).state_dict
    assert found.keys() == expected.keys()
    del found["position_encoding.periods"]  # Without config.json the base is taken for 100.
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("name", tiny_weights.DINOV3)
def test_names_and_config_come_back(name):
    options = tiny_weights.DINOV3[name]
    state = tiny_weights.vit(**options).state_dict()
    back = huggingface_dinov3.to_mmdino(huggingface_dinov3.from_mmdino(state))
    assert back.keys() == state.keys() - {"position_encoding.periods"}
    assert all(torch.equal(back[key], state[key]) for key in back)
    config, _ = vit_config(state, {**tiny_weights.VIT, **options})
    hub = huggingface_dinov3.backbone_config(huggingface_dinov3.huggingface_config(config))
    again, _ = vit_config(state, hub)
    for option in ("arch", "img_size", "norm_cfg", "position_encoding", "ffn", "key_bias"):
        assert again.get(option) == config.get(option)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "dinov2"},
        {"model_type": "dinov3_vit", "hidden_act": "silu"},
        {"model_type": "dinov3_vit", "use_gated_mlp": True},
    ],
)
def test_other_configs_are_refused(config):
    with pytest.raises(ValueError, match="expected model_type 'dinov3_vit' and hidden_act"):
        huggingface_dinov3.backbone_config(config)


def test_a_network_without_layer_scale_is_refused():
    with pytest.raises(ValueError, match="no LayerScale"):
        huggingface_dinov3.huggingface_config({**tiny_weights.VIT, "img_size": 32})

"""Dinov2Model and Dinov2WithRegistersModel with random weights are read and compute the same."""

from __future__ import annotations

import pytest
import tiny_weights
import torch
from transformers import (
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    Dinov2WithRegistersModel,
)

from mmdino.weights.layouts import huggingface_dinov2
from mmdino.weights.networks import backbone_weights, build_backbone
from mmdino.weights.specs import vit_config

SIZES = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 518,
    "patch_size": 14,
}
MODELS = {
    "plain": (Dinov2Model, Dinov2Config, {}),
    "swiglu": (Dinov2Model, Dinov2Config, {"use_swiglu_ffn": True}),
    "grey": (Dinov2Model, Dinov2Config, {"num_channels": 1, "qkv_bias": False}),
    "registers": (Dinov2WithRegistersModel, Dinov2WithRegistersConfig, {"num_register_tokens": 5}),
}


@pytest.fixture(params=MODELS)
def model(request):
    cls, config, options = MODELS[request.param]
    built = cls(config(**SIZES, **options)).eval()
    tiny_weights.randomise(built)
    return built


def images(model, *size):
    shape = (1, model.config.num_channels, *size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def assert_same_features(ours, theirs, size):
    x = images(theirs, *size)
    with torch.no_grad():
        expected = theirs(x).last_hidden_state[:, 0]
        torch.testing.assert_close(ours(x)[-1], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("cls", "config", "prefix"),
    [
        (Dinov2ForImageClassification, Dinov2Config, "dinov2"),
        (
            Dinov2WithRegistersForImageClassification,
            Dinov2WithRegistersConfig,
            "dinov2_with_registers",
        ),
    ],
)
def test_the_backbone_of_a_classifier_is_read(tmp_path, cls, config, prefix):
    classifier = cls(config(**{**SIZES, "image_size": 56}, num_labels=4)).eval()
    tiny_weights.randomise(classifier)
    classifier.save_pretrained(tmp_path)
    weights = backbone_weights(tmp_path)
    assert weights.heads_from == "from the file"
    ours = build_backbone(weights.config, weights.state_dict)
    assert_same_features(ours, getattr(classifier, prefix), (56, 56))


def test_the_norm_of_local_views_is_left_out():
    state = tiny_weights.vit(local_norm=True, **tiny_weights.MORE).state_dict()
    back = huggingface_dinov2.to_mmdino(huggingface_dinov2.from_mmdino(state))
    assert state.keys() - back.keys() == {"local_ln1.weight", "local_ln1.bias"}
    assert back.keys() < state.keys()


def test_features_are_those_of_transformers(tmp_path, model):
    model.save_pretrained(tmp_path)
    weights = backbone_weights(tmp_path)
    assert weights.heads_from == "from the file"
    ours = build_backbone(weights.config, weights.state_dict)
    assert_same_features(ours, model, (518, 518))
    other = (112, 70)
    if ours.num_extra_tokens == 1:
        # transformers resizes by the size, the authors with their offset.
        x = images(model, *other)
        with torch.no_grad():
            difference = (ours(x)[-1] - model(x).last_hidden_state[:, 0]).abs().max()
        assert difference > 1e-4
        ours.pos_embed_offset = 0
    assert_same_features(ours, model, other)


def test_names_of_a_model_in_memory_are_read_too(tmp_path, model):
    model.save_pretrained(tmp_path)
    expected = backbone_weights(tmp_path).state_dict
    torch.save(model.state_dict(), tmp_path / "memory.pth")
    found = backbone_weights(tmp_path / "memory.pth", num_heads=3).state_dict
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", tiny_weights.DINOV2)
def test_names_and_config_come_back(name):
    state = tiny_weights.vit(**tiny_weights.DINOV2[name]).state_dict()
    back = huggingface_dinov2.to_mmdino(huggingface_dinov2.from_mmdino(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)
    stored = {**tiny_weights.VIT, **tiny_weights.DINOV2[name]}
    config, _ = vit_config(state, stored)
    hub = huggingface_dinov2.backbone_config(huggingface_dinov2.huggingface_config(config))
    again, _ = vit_config(state, hub)
    assert again["arch"] == config["arch"]
    assert again["img_size"] == config["img_size"]
    assert again["pos_embed_antialias"] == config.get("pos_embed_antialias", False)


def test_a_missing_mask_token_is_written_as_0():
    state = tiny_weights.vit(layer_scale_init_value=1.0).state_dict()
    written = huggingface_dinov2.from_mmdino(state)
    assert torch.equal(written["embeddings.mask_token"], torch.zeros(1, 12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_scale_init_value": 0}, "no LayerScale, but Hugging Face's Dinov2Model has"),
        ({"img_size": [32, 48]}, "no square"),
        ({"arch": {"feedforward_channels": 50, "embed_dims": 12}}, "no multiple of its width 12"),
    ],
)
def test_what_the_model_cannot_be_is_said(change, message):
    config = {**tiny_weights.VIT, "layer_scale_init_value": 1.0, **change}
    with pytest.raises(ValueError, match=message):
        huggingface_dinov2.huggingface_config(config)


@pytest.mark.parametrize(
    "config", [{"model_type": "vit"}, {"model_type": "dinov2", "hidden_act": "relu"}]
)
def test_other_configs_are_refused(config):
    with pytest.raises(ValueError, match="expected model_type 'dinov2' or"):
        huggingface_dinov2.backbone_config(config)

"""Networks of timm with random weights are read, compute the same, and are written."""

from __future__ import annotations

import pytest
import timm
import tiny_weights
import torch

from mmdino.weights.layouts import authors_vit, timm_vit
from mmdino.weights.networks import backbone_weights, build_backbone

DINOV2 = {"num_classes": 0, "global_pool": "token", "dynamic_img_size": True}
NETWORKS = {
    "vit_small_patch14_dinov2": DINOV2,
    "vit_small_patch14_reg4_dinov2": DINOV2,
    "vit_giant_patch14_reg4_dinov2": {**DINOV2, "embed_dim": 192, "num_heads": 3},
    "vit_small_patch16_dinov3": {"num_classes": 0, "global_pool": "token"},
    "vit_small_patch16_dinov3_qkvb": {"num_classes": 0, "global_pool": "token"},
    "vit_small_plus_patch16_dinov3_qkvb": {"num_classes": 0, "global_pool": "token"},
}


@pytest.fixture
def network(request):
    model = timm.create_model(request.param, depth=2, **NETWORKS[request.param])
    tiny_weights.randomise(model)
    return model.eval()


def images(*size):
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))


def assert_same_features(ours, theirs, size):
    with torch.no_grad():
        expected = theirs(images(*size))
        torch.testing.assert_close(ours(images(*size))[-1], expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("network", NETWORKS, indirect=True)
def test_features_are_timms(tmp_path, network):
    torch.save(network.state_dict(), tmp_path / "timm.pth")
    weights = backbone_weights(tmp_path / "timm.pth")
    ours = build_backbone(weights.config, weights.state_dict)
    patch = weights.config["patch_size"]
    size = weights.config["img_size"]
    assert_same_features(ours, network, (size, size))
    if ours.num_extra_tokens == 1:
        # timm resizes by the size and smooths; the authors of DINOv2 do so with registers only.
        other = (8 * patch, 5 * patch)
        with torch.no_grad():
            difference = (ours(images(*other))[-1] - network(images(*other))).abs().max()
        assert difference > 1e-3
        ours.pos_embed_offset, ours.pos_embed_antialias = 0, True
    for other in ((8 * patch, 5 * patch), (3 * patch, 3 * patch)):
        assert_same_features(ours, network, other)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eva02_tiny_patch14_224", "timm's EVA-02, whose rotary positions"),
        ("eva02_base_patch14_224", "timm's EVA-02, whose rotary positions"),
        ("vit_small_patch16_rope_224", "timm's ViT with rope in its name, whose rotary"),
        ("vit_small_patch16_rope_mixed_224", "timm's ViT with rope in its name, whose rotary"),
        ("vit_small_patch16_rope_ape_224", "timm's ViT with rope in its name, whose rotary"),
    ],
)
def test_other_rotary_positions_are_refused(tmp_path, name, message):
    torch.save(timm.create_model(name, depth=1).state_dict(), tmp_path / "timm.pth")
    with pytest.raises(ValueError, match=message):
        backbone_weights(tmp_path / "timm.pth")


def test_deit3_whose_class_token_has_no_position_is_read(tmp_path):
    options = {"depth": 2, "embed_dim": 64, "num_heads": 1, "img_size": 64}
    network = timm.create_model("deit3_small_patch16_224", num_classes=3, **options)
    tiny_weights.randomise(network)
    torch.save(network.state_dict(), tmp_path / "timm.pth")
    weights = backbone_weights(tmp_path / "timm.pth")
    assert (weights.config["img_size"], weights.project) == (64, "timm")
    network.reset_classifier(0)
    ours = build_backbone(weights.config, weights.state_dict)
    assert_same_features(ours, network.eval(), (64, 64))


def test_registers_on_a_grid_that_is_not_square_are_no_deit3(tmp_path):
    """4 x 6 patches and a class token are 25 positions, as 5 x 5 patches of DeiT III are."""
    vit = tiny_weights.vit(img_size=(32, 48), num_registers=3, layer_scale_init_value=0.1)
    tensors = authors_vit.from_mmdino(vit.state_dict())
    assert not timm_vit.is_timm(tensors)
    torch.save(tensors, tmp_path / "authors.pth")
    with pytest.raises(ValueError, match="24 patches, which is not a square number"):
        backbone_weights(tmp_path / "authors.pth", num_heads=2)


def test_eva_without_rotary_positions_is_read(tmp_path):
    options = {"depth": 1, "embed_dim": 64, "num_heads": 1, "num_classes": 0}
    network = timm.create_model("eva_giant_patch14_224", global_pool="token", **options)
    torch.save(network.state_dict(), tmp_path / "timm.pth")
    weights = backbone_weights(tmp_path / "timm.pth")
    assert_same_features(
        build_backbone(weights.config, weights.state_dict), network.eval(), (224, 224)
    )


@pytest.mark.parametrize("network", NETWORKS, indirect=True)
def test_names_come_back(network):
    state = network.state_dict()
    back = timm_vit.from_mmdino(timm_vit.to_mmdino(state))
    lost = set()
    if timm_vit.is_rotary(state):
        # Their periods tell the network from others; the reader of files adds them.
        ours = timm_vit.to_mmdino(state) | {"position_encoding.periods": torch.ones(16)}
        back = timm_vit.from_mmdino(ours)
    assert back.keys() == state.keys() - lost
    assert all(torch.equal(back[name], state[name]) for name in back)


def test_a_key_bias_has_no_place_in_timms_rotary_network():
    vit = tiny_weights.vit(**{**tiny_weights.DINOV3["dinov3"], "key_bias": True})
    with pytest.raises(ValueError, match="Train it with key_bias=False"):
        timm_vit.from_mmdino(vit.state_dict())

"""The ViT computes what the reference's ViT computes, at the sizes of all views."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from mmdino.models.backbones.reference_names import from_reference_vit

ARCH = {"embed_dims": 12, "num_layers": 2, "num_heads": 2, "feedforward_channels": 48}


def build(**kwargs):
    options = {"arch": ARCH, "img_size": 32, "patch_size": 8, **kwargs}
    return MODELS.build({"type": "mmdino.DINOVisionTransformer", **options})


@pytest.mark.parametrize("shape", ["same", "local", "wide"])
@pytest.mark.parametrize("case", ["p8", "p16"])
def test_tokens_and_attention_equal_the_reference(golden, case, shape):
    sizes = golden("vit", f"{case}/")
    vit = build(img_size=int(sizes["img_size"]), patch_size=int(sizes["patch_size"])).double()
    vit.load_state_dict(from_reference_vit(golden("vit", f"{case}/param/")))
    vit.eval()
    expected = golden("vit", f"{case}/{shape}/")
    with torch.no_grad():
        found = {
            "cls": vit(expected["input"])[-1],
            "attention": vit.last_attention(expected["input"]),
        }
        found["tokens_0"], found["tokens_1"] = vit.intermediate_tokens(expected["input"], 2)
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-9)


def test_without_offset_it_is_mmpretrains_network():
    torch.manual_seed(0)
    ours = build(pos_embed_offset=0)
    theirs = MODELS.build(
        {"type": "mmpretrain.VisionTransformer", "arch": ARCH, "img_size": 32, "patch_size": 8}
    )
    theirs.load_state_dict(ours.state_dict())
    for size in ((32, 32), (16, 16), (24, 40)):
        images = torch.randn(2, 3, *size)
        torch.testing.assert_close(ours(images), theirs(images))


def test_start_is_the_references():
    torch.manual_seed(0)
    vit = build(arch={**ARCH, "embed_dims": 96, "feedforward_channels": 384})
    vit.init_weights()
    qkv, fc1 = vit.layers[0].attn.qkv, vit.layers[0].ffn.layers[0][0]
    for weight in (qkv.weight, fc1.weight, vit.pos_embed):
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert qkv.bias.abs().max() == 0
    assert fc1.bias.abs().max() == 0


def test_init_cfg_is_followed():
    vit = build(init_cfg={"type": "Constant", "layer": "Linear", "val": 0.5})
    vit.init_weights()
    assert torch.equal(vit.layers[0].attn.proj.weight, torch.full((12, 12), 0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"img_size": 100}, "img_size=100 and patch_size=8"),
        ({"img_size": (32, 33)}, "multiple of the patch"),
        ({"patch_size": 64}, "patch_size=64"),
        ({"arch": "vit-s"}, "deit-small"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)

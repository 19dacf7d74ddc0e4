"""The ViT computes what the reference's ViT computes, at the sizes of all views."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from mmdino.weights.layouts import authors_vit

ARCH = {"embed_dims": 12, "num_layers": 2, "num_heads": 2, "feedforward_channels": 48}


def build(**kwargs):
    options = {"arch": ARCH, "img_size": 32, "patch_size": 8, **kwargs}
    return MODELS.build({"type": "mmdino.VisionTransformer", **options})


@pytest.mark.parametrize("shape", ["same", "local", "wide"])
@pytest.mark.parametrize("case", ["p8", "p16"])
def test_tokens_and_attention_equal_the_reference(golden, case, shape):
    sizes = golden("vit", f"{case}/")
    vit = build(img_size=int(sizes["img_size"]), patch_size=int(sizes["patch_size"])).double()
    vit.load_state_dict(authors_vit.to_mmdino(golden("vit", f"{case}/param/")))
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


def test_norm_outputs_gives_each_block_the_final_norm():
    torch.manual_seed(0)
    vit = build(out_type="raw", out_indices=[0, 1], norm_outputs=True)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(list(vit(images)), vit.intermediate_tokens(images, 2))
    plain = build(out_type="raw", out_indices=[0, 1])
    plain.load_state_dict(vit.state_dict())
    first, last = plain(images)
    torch.testing.assert_close(vit.ln1(first), vit(images)[0])
    torch.testing.assert_close(last, vit(images)[1])


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((4, 32), "4 x 32 pixels came, smaller than a patch of 8 x 8"),
        ((32, 7), "32 x 7 pixels came, smaller than a patch"),
        ((32, 20), "32 x 20 pixels came, which does not divide into patches of 8 x 8"),
    ],
)
def test_images_that_do_not_divide_into_patches_are_refused(size, message):
    with pytest.raises(ValueError, match=message):
        build()(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm_outputs": True, "final_norm": False}, "norm_outputs=True with final_norm=False"),
        ({"img_size": 100}, "img_size=100 and patch_size=8"),
        ({"img_size": (32, 33)}, "multiple of the patch"),
        ({"patch_size": 64}, "patch_size=64"),
        ({"arch": "vit-s"}, "deit-small"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def outputs_and_gradients(images, seed=1, **options):
    """Class tokens and the gradient of all parameters, of weights far from their start."""
    torch.manual_seed(0)
    vit = build(**options).double()
    vit.train()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    torch.manual_seed(seed)
    (output,) = vit(images)
    output.square().sum().backward()
    return output, torch.cat([parameter.grad.flatten() for parameter in vit.parameters()])


@pytest.mark.parametrize("drop_path_rate", [0.0, 0.5])
def test_activation_checkpoints_change_nothing(drop_path_rate):
    """With stochastic depth too: the second forward pass drops what the first one has dropped."""
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    expected, found = (
        outputs_and_gradients(images, drop_path_rate=drop_path_rate, with_cp=with_cp)
        for with_cp in (False, True)
    )
    for value, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, value, rtol=0, atol=1e-12)


def test_activation_checkpoints_keep_fewer_tensors():
    kept = {}
    for with_cp in (False, True):
        vit = build(arch={**ARCH, "num_layers": 12}, with_cp=with_cp)
        vit.train()
        sizes = []

        def keep(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            vit(torch.randn(8, 3, 32, 32))
        kept[with_cp] = sum(sizes)
    assert kept[True] < 0.3 * kept[False]


def test_fused_attention_is_an_option_and_equal():
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    for fastest, fused in zip(
        outputs_and_gradients(images),
        outputs_and_gradients(images, attention="fused"),
        strict=True,
    ):
        torch.testing.assert_close(fastest, fused, rtol=0, atol=1e-10)


def test_unknown_attention_is_refused():
    with pytest.raises(ValueError, match="attention='quick'"):
        build(attention="quick")

"""The ViT computes what the reference's ViT computes, at the sizes of all views."""

from __future__ import annotations

import re

import pytest
import tiny_distillation
import torch
from mmengine.registry import MODELS

from mmdino.models.layers import RelativePositions, attention, interpolate_pos_embed
from mmdino.weights.layouts import authors_vit
from mmdino.weights.layouts.renaming import rename

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


DINOV2 = {
    "plain": {"layer_scale_init_value": 1e-5},
    "registers": {
        "layer_scale_init_value": 1e-5,
        "num_registers": 4,
        "pos_embed_offset": 0,
        "pos_embed_antialias": True,
    },
    "swiglu": {"layer_scale_init_value": 1e-5, "ffn": "swiglu"},
    "no_scale": {},
}
DINOV2_INPUTS = [
    (case, shape)
    for case in DINOV2
    for shape in ("same", "wide", "small", "tall")
    # The reference has two sizes of the other networks.
    if case in ("plain", "registers") or shape in ("same", "wide")
]


@pytest.mark.parametrize(("case", "shape"), DINOV2_INPUTS)
def test_dinov2_equals_the_reference(golden, case, shape):
    expected = golden("dinov2_vit", f"{case}/{shape}/")
    sizes = golden("dinov2_vit", f"{case}/")
    vit = build(
        img_size=int(sizes["img_size"]),
        patch_size=int(sizes["patch_size"]),
        mask_token=True,
        out_type="features",
        out_indices=[0, 1],
        norm_outputs=True,
        **DINOV2[case],
    ).double()
    vit.load_state_dict(authors_vit.to_mmdino(golden("dinov2_vit", f"{case}/param/")))
    vit.eval()
    images = expected.pop("input").double()
    masks = expected.pop("masks")
    with torch.no_grad():
        first, last = vit(images)
        masked = vit(images, masks)[-1]
        found = {
            "pos_embed": interpolate_pos_embed(
                vit.pos_embed,
                vit.patch_resolution,
                last.grid,
                1,
                offset=vit.pos_embed_offset,
                antialias=vit.pos_embed_antialias,
            ),
            "cls": last.cls,
            "patches": last.patches,
            "masked_cls": masked.cls,
            "masked_patches": masked.patches,
            "cls_of_first_block": first.cls,
            "map_of_last_block": last.patches.transpose(1, 2).unflatten(2, last.grid),
            "registers_out": last.registers,
        }
        vit.final_norm, vit.norm_outputs, vit.out_type = False, False, "raw"
        found["prenorm"] = vit(images)[-1]
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-9)


V3_ARCH = {"embed_dims": 16, "num_layers": 2, "num_heads": 2, "feedforward_channels": 64}
DINOV3 = {
    "arch": V3_ARCH,
    "layer_scale_init_value": 1e-5,
    "num_registers": 4,
    "mask_token": True,
    "norm_cfg": {"type": "LN", "eps": 1e-5},
    "learned_positions": False,
    "position_encoding": {"type": "mmdino.RotaryPositions", "head_dims": 8},
    "out_type": "features",
}
DINOV3_CASES = {
    "mlp": {"key_bias": False},
    "swiglu": {"qkv_bias": False, "ffn": "swiglu", "local_norm": True},
}


def dinov3(golden, case):
    vit = build(**DINOV3, **DINOV3_CASES[case]).double()
    vit.load_state_dict(authors_vit.to_mmdino(golden("dinov3_vit", f"{case}/param/")))
    return vit.eval()


@pytest.mark.parametrize("shape", ["same", "wide"])
@pytest.mark.parametrize("case", DINOV3_CASES)
def test_dinov3_equals_the_reference(golden, case, shape):
    vit = dinov3(golden, case)
    expected = golden("dinov3_vit", f"{case}/{shape}/")
    images, masks = expected.pop("input").double(), expected.pop("masks")
    with torch.no_grad():
        (last,), (masked,) = vit(images), vit(images, masks)
        cos, sin = vit.position_encoding(last.grid).rotation
    found = {
        "cos": cos,
        "sin": sin,
        "cls": last.cls,
        "registers": last.registers,
        "patches": last.patches,
        "masked_cls": masked.cls,
        "masked_patches": masked.patches,
    }
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-9)


def test_local_views_have_their_norm_in_training_only(golden):
    vit = dinov3(golden, "swiglu")
    images = golden("dinov3_vit", "swiglu/same/")["input"].double()
    expected = vit(images)[0]
    assert torch.equal(vit(images, local=True)[0].cls, expected.cls)
    vit.train()
    assert torch.equal(vit(images)[0].cls, expected.cls)
    local = vit(images, local=True)[0]
    torch.testing.assert_close(local.patches, expected.patches)
    # Both norms see the same tokens: their weights and biases alone differ.
    plain = (expected.cls - vit.ln1.bias) / vit.ln1.weight
    torch.testing.assert_close(local.cls, plain * vit.local_ln1.weight + vit.local_ln1.bias)
    plain = (expected.registers - vit.ln1.bias) / vit.ln1.weight
    torch.testing.assert_close(local.registers, plain * vit.local_ln1.weight + vit.local_ln1.bias)


def test_a_masked_key_bias_neither_acts_nor_learns(golden):
    vit = dinov3(golden, "mlp").train()
    images = golden("dinov3_vit", "mlp/same/")["input"].double()
    expected = vit(images)[0].cls
    expected.sum().backward()
    bias = vit.layers[0].attn.qkv.bias
    assert bias.grad[16:32].abs().max() == 0
    assert bias.grad[:16].abs().min() > 0
    with torch.no_grad():
        bias[16:32] += 1
    assert torch.equal(vit(images)[0].cls, expected)


@pytest.mark.parametrize("option", ["shift", "jitter", "rescale"])
def test_rotations_are_drawn_for_each_block_in_training_only(option):
    torch.manual_seed(0)
    encoding = {**DINOV3["position_encoding"], option: 2}
    vit = build(**{**DINOV3, "position_encoding": encoding})
    drawn = []
    for block in vit.layers:
        block.register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[1].rotation[0]))
    images = torch.randn(1, 3, 16, 32)
    vit.eval()(images)
    assert torch.equal(*drawn)
    vit.train()(images)
    assert not torch.equal(*drawn[2:])
    assert not any(torch.equal(drawn[0], later) for later in drawn[2:])


@pytest.mark.parametrize("rows", [False, True])
def test_stochastic_depth_of_all_blocks_is_uniform_if_asked(rows):
    vit = build(drop_path_rate=0.4, drop_path_uniform=True, drop_path_rows=rows)
    assert [layer.drop_path.drop_prob for layer in vit.layers] == [0.4, 0.4]
    rising = build(drop_path_rate=0.4, drop_path_rows=rows)
    assert [layer.drop_path.drop_prob for layer in rising.layers] == [0, 0.4]


def test_sizes_of_the_published_networks():
    """22,056,576 parameters of the released ViT-S/14, and 1536 more with registers."""
    options = {"patch_size": 14, "img_size": 518, "layer_scale_init_value": 1e-5}
    for registers in (0, 4):
        vit = build(**options, arch="vit-s", ffn="mlp", mask_token=True, num_registers=registers)
        number = sum(parameter.numel() for parameter in vit.parameters())
        assert number == 22_056_576 + 384 * registers
    with torch.device("meta"):
        giant = build(**options, arch={**vit.arch_zoo["vit-g"], "num_layers": 1}, ffn="swiglu")
    assert giant.layers[0].ffn.w12.weight.shape == (8192, 1536)
    assert giant.layers[0].ffn.w3.weight.shape == (1536, 4096)


@pytest.mark.parametrize(("std", "expected"), [(None, 0.02), (1e-6, 1e-6), (0.02, 0.02)])
def test_start_of_the_tokens(std, expected):
    torch.manual_seed(0)
    arch = {**ARCH, "embed_dims": 1536}
    vit = build(arch=arch, num_registers=4, mask_token=True, token_std=std)
    vit.init_weights()
    assert vit.cls_token.std().item() == pytest.approx(expected, rel=0.1)
    registers = 1e-6 if std is None else std
    assert vit.register_tokens.std().item() == pytest.approx(registers, rel=0.1)
    assert vit.mask_token.abs().max() == 0


@pytest.mark.parametrize(
    "options",
    [{}, {"layer_scale_init_value": 0.3}, {"pre_norm": True}, {"qkv_bias": False}],
    ids=str,
)
def test_without_offset_it_is_mmpretrains_network(options):
    """Names of tensors, their order, and what is computed."""
    torch.manual_seed(0)
    ours = build(pos_embed_offset=0, **options)
    arguments = {"arch": ARCH, "img_size": 32, "patch_size": 8, **options}
    theirs = MODELS.build({"type": "mmpretrain.VisionTransformer", **arguments})
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    compare_with_mmpretrain(ours, theirs)


def test_swiglu_is_mmpretrains():
    torch.manual_seed(0)
    options = {"layer_scale_init_value": 0.3}
    ours = build(pos_embed_offset=0, ffn="swiglu", **options)
    arguments = {"arch": ARCH, "img_size": 32, "patch_size": 8, **options}
    layers = {"ffn_type": "swiglu_fused"}
    theirs = MODELS.build(
        {"type": "mmpretrain.VisionTransformer", "layer_cfgs": layers} | arguments
    )
    assert {n for n, _ in ours.named_parameters()} == {n for n, _ in theirs.named_parameters()}
    compare_with_mmpretrain(ours, theirs)


def compare_with_mmpretrain(ours, theirs):
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


@pytest.mark.parametrize("size", [(4, 32), (32, 7), (32, 20)])
def test_images_that_do_not_divide_into_patches_are_refused(size):
    message = f"{size[0]} x {size[1]} pixels, which do not divide into patches of 8 x 8"
    with pytest.raises(ValueError, match=message):
        build()(torch.zeros(1, 3, *size))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm_outputs": True, "final_norm": False}, "norm_outputs=True with final_norm=False"),
        ({"img_size": 100}, "100 x 100 pixels, which do not divide into patches of 8 x 8"),
        ({"img_size": (32, 33)}, "32 x 33 pixels, .* multiples of the patch"),
        ({"patch_size": 64}, "32 x 32 pixels, which do not divide into patches of 64 x 64"),
        ({"arch": "vit-m"}, "deit-small"),
        ({"ffn": "geglu"}, "ffn='geglu'; it must be one of"),
        ({"local_norm": True, "final_norm": False}, "local_norm=True with final_norm=False"),
        (
            {"position_encoding": {"type": "mmdino.RotaryPositions"}},
            "has head_dims=6, but its position_encoding is for 64",
        ),
        (
            {"position_encoding": {"type": "mmdino.RelativePositionBias", "num_heads": 3}},
            "has num_heads=2, but its position_encoding is for 3",
        ),
        (
            {
                "num_registers": 1,
                "position_encoding": {"type": "mmdino.RelativePositionBias", "num_heads": 2},
            },
            r"for 1\. Set position_encoding\.num_extra_tokens=2",
        ),
        ({"position_encoding_per_block": True}, "Set one, such as"),
        ({"weight_init": "xavier"}, "weight_init='xavier'; it must be one of"),
        ({"arch": {"embed_dims": 12}}, "feedforward_channels"),
        ({"arch": {**ARCH, "num_heads": 5}}, "5 heads for a width of 12"),
        ({"out_type": "avg_featmap"}, "out_type='avg_featmap'; it must be one of"),
        ({"out_indices": [0, 2]}, r"it has 2 blocks, so an index is -2 to 1"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


ROTATED = {
    "arch": V3_ARCH,
    "learned_positions": False,
    "position_encoding": {"type": "mmdino.RotaryPositions", "head_dims": 8, "rescale": 2},
}


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


@pytest.mark.parametrize(
    "options",
    [{}, {"drop_path_rate": 0.5}, {"drop_path_rate": 0.5, "drop_path_rows": True}, ROTATED],
    ids=["plain", "drop_path", "drop_path_rows", "rotary"],
)
def test_activation_checkpoints_change_nothing(options):
    """With stochastic depth too: the second forward pass drops what the first one has dropped."""
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    expected, found = (
        outputs_and_gradients(images, with_cp=with_cp, **options) for with_cp in (False, True)
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


def test_features_are_the_tokens_of_one_pass():
    """Class token, registers and patches, in the order of the tokens; the map is the patches."""
    torch.manual_seed(0)
    vit = build(num_registers=3, out_type="features", out_indices=[0, 1], norm_outputs=True)
    vit.eval()
    images = torch.randn(2, 3, 32, 16)
    expected = vit.intermediate_tokens(images, 2)
    for features, tokens in zip(vit(images), expected, strict=True):
        assert features.grid == (4, 2)
        assert torch.equal(torch.cat([features.cls[:, None], *features[1:3]], 1), tokens)
        assert features.registers.shape == (2, 3, 12)
    outputs = {}
    for out_type in ("cls_token", "featmap", "raw"):
        vit.out_type = out_type
        outputs[out_type] = vit(images)[-1]
    assert torch.equal(outputs["cls_token"], features.cls)
    assert torch.equal(outputs["featmap"].flatten(2).transpose(1, 2), features.patches)
    assert torch.equal(outputs["raw"], tokens)
    assert vit.class_token_attention(images).shape == (2, 2, 4, 2)
    whole = vit.last_attention(images)[:, :, 0, 4:].unflatten(-1, (4, 2))
    torch.testing.assert_close(vit.class_token_attention(images), whole)


def test_mask_token_replaces_masked_patches():
    torch.manual_seed(0)
    vit = build(mask_token=True, out_type="features").eval()
    with torch.no_grad():
        vit.mask_token.normal_()
    images, others = torch.randn(2, 2, 3, 32, 32)
    masks = torch.zeros(2, 16, dtype=torch.bool)
    masks[0, 3] = masks[1, 5:9] = True
    whole_patches = masks.view(2, 1, 4, 1, 4, 1).expand(2, 3, 4, 8, 4, 8).reshape(2, 3, 32, 32)
    changed = torch.where(whole_patches, others, images)
    for found, expected in zip(vit(images, masks)[0], vit(changed, masks)[0], strict=True):
        torch.testing.assert_close(found, expected)
    assert not torch.allclose(vit(images, masks)[0].cls, vit(images)[0].cls)
    with pytest.raises(ValueError, match="Set mask_token=True"):
        build()(images, masks)


class Grid(torch.nn.Module):
    """Rotates patches by their column, and biases attention towards the row above."""

    def forward(self, grid):
        rows, columns = grid
        place = torch.arange(rows * columns)
        angles = (place % columns).float()[:, None] * torch.tensor([1.0, 0.1, 0.01] * 2)
        bias = torch.zeros(2, 1 + len(place), 1 + len(place))
        above = place[:, None] - columns == place
        bias[:, 1:, 1:] = torch.where(above, 2.0, 0.0)
        return RelativePositions((angles.cos(), angles.sin()), bias)


def test_relative_positions_act_in_the_attention_of_every_block():
    torch.manual_seed(0)
    vit = build(learned_positions=False, out_type="features").eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    images = torch.randn(2, 3, 16, 32)
    halves = torch.cat([images[..., 16:], images[..., :16]], -1)
    # Without positions, patches that change places change nothing but places.
    torch.testing.assert_close(vit(images)[0].cls, vit(halves)[0].cls)
    vit.position_encoding = Grid()
    assert not torch.allclose(vit(images)[0].cls, vit(halves)[0].cls, atol=1e-3)

    block = vit.layers[-1]
    tokens, _ = vit.embed(images)
    for layer in vit.layers[:-1]:
        tokens = layer(tokens, vit.position_encoding((2, 4)))
    (cos, sin), bias = vit.position_encoding((2, 4))
    query, key, value = (
        part.transpose(1, 2)
        for part in block.attn.qkv(block.ln1(tokens)).view(2, 9, 3, 2, 6).unbind(2)
    )

    def rotated(x):
        turned = x[:, :, 1:] * cos + torch.cat([-x[:, :, 1:, 3:], x[:, :, 1:, :3]], -1) * sin
        return torch.cat([x[:, :, :1], turned], 2)

    scores = rotated(query) @ rotated(key).transpose(-2, -1) / 6**0.5 + bias
    torch.testing.assert_close(vit.last_attention(images), scores.softmax(-1))
    attended = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
    expected = tokens + block.attn.proj(attended)
    expected = expected + block.ffn(block.ln2(expected))
    torch.testing.assert_close(vit(images)[0].cls, vit.ln1(expected)[:, 0])


def test_frozen_stages_stay_in_eval_mode_and_get_no_gradient():
    vit = build(frozen_stages=1, drop_path_rate=0.5).train()
    assert not vit.layers[0].training
    assert vit.layers[1].training
    trained = {
        name.split(".")[0] + name.split(".")[1]
        for name, p in vit.named_parameters()
        if p.requires_grad
    }
    assert trained == {"layers1", "ln1weight", "ln1bias"}


def test_layers_of_parameters_are_mmpretrains():
    vit = build(num_registers=2, mask_token=True)
    theirs = MODELS.build({"type": "mmpretrain.VisionTransformer", "arch": ARCH, "img_size": 32})
    for name, _ in theirs.named_parameters():
        for prefix in ("", "backbone."):
            assert vit.get_layer_depth(prefix + name, prefix) == theirs.get_layer_depth(
                prefix + name, prefix
            )
    assert vit.get_layer_depth("head.weight", "backbone.") == (3, 4)
    assert vit.get_layer_depth("register_tokens") == vit.get_layer_depth("mask_token") == (0, 4)


def test_beit_s_start_values_are_the_reference_s(golden):
    """Cut at one deviation, the last layers of both branches smaller with depth."""
    expected = golden("distillation", "init/")
    torch.manual_seed(0)
    arch = {"embed_dims": 48, "num_layers": 3, "num_heads": 2, "feedforward_channels": 96}
    options = {"type": "mmdino.RelativePositionBias", "num_heads": 2, "grid": 3}
    vit = build(
        arch=arch,
        weight_init="beit",
        position_encoding=options,
        learned_positions=False,
        key_bias=False,
        layer_scale_init_value=0.1,
    )
    vit.init_weights()
    drawn = {"cls_token": 0, "patch_embed.projection.weight": 0}
    for block in range(3):
        drawn |= {
            f"layers.{block}.attn.qkv.weight": 0,
            f"layers.{block}.ffn.layers.0.0.weight": 0,
            f"layers.{block}.attn.proj.weight": block + 1,
            f"layers.{block}.ffn.layers.1.weight": block + 1,
        }
    theirs = authors_vit.FROM_MMDINO
    rows = {name: row for row, name in enumerate(expected["names"])}
    for name, parameter in vit.named_parameters():
        if name not in drawn:
            constant = 1.0 if re.search(r"ln\d\.weight$", name) else 0.0
            constant = 0.1 if "gamma" in name else constant
            assert (parameter == constant).all(), name
            continue
        factor = (2 * drawn[name]) ** -0.5 if drawn[name] else 1
        largest = 0.02 * factor
        assert 0.9 * largest < parameter.abs().max() <= largest, name
        # 0.54 of the deviation is left between -1 and 1 of them.
        assert parameter.std().item() == pytest.approx(0.54 * largest, rel=0.2), name
        ((their_name, _),) = rename({name: None}, theirs).items()
        assert expected["largest"][rows[their_name]] <= largest
        assert expected["std"][rows[their_name]].item() == pytest.approx(0.54 * largest, rel=0.25)
    constants = {name for name, std in zip(rows, expected["std"], strict=True) if std < 1e-9}
    assert len(constants) == len(rows) - len(drawn)


def test_stochastic_depth_equals_the_reference_with_its_draws(golden, monkeypatch):
    expected = golden("distillation", "drop_path/")
    arch = {**tiny_distillation.STUDENT_ARCH, "num_layers": len(expected["rates"])}
    rate = float(expected["rates"][-1])
    vit = MODELS.build(tiny_distillation.student(arch=arch, drop_path_rate=rate)).double()
    weights = tiny_distillation.student_weights(golden("distillation", "drop_path/student/"), "")
    vit.load_state_dict(weights)
    draws = iter(expected["draws"])
    monkeypatch.setattr(torch, "rand", lambda shape, **_: next(draws).view(shape))
    (found,) = vit.train()(expected["images"])
    tokens = torch.cat([found.cls.unsqueeze(1), found.patches], dim=1)
    torch.testing.assert_close(tokens, expected["features"], rtol=0, atol=1e-9)
    assert next(draws, None) is None


def relative(**options):
    """A ViT with tables of relative positions."""
    encoding = {"type": "mmdino.RelativePositionBias", "num_heads": 2, "grid": 4}
    return build(learned_positions=False, position_encoding=encoding, **options)


def test_a_shared_table_is_copied_to_every_block(tmp_path):
    """By a plain state dict, below a prefix, and from a file."""
    shared, images = relative().eval(), torch.randn(2, 3, 32, 48)
    torch.nn.init.normal_(shared.position_encoding.table)
    torch.save({"state_dict": shared.state_dict()}, tmp_path / "shared.pth")
    expected = shared(images)[-1]
    init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "shared.pth")}
    plain, wrapped = (relative(position_encoding_per_block=True).eval() for _ in range(2))
    from_file = relative(position_encoding_per_block=True, init_cfg=init_cfg).eval()
    plain.load_state_dict(shared.state_dict())
    state = {f"backbone.{name}": tensor for name, tensor in shared.state_dict().items()}
    torch.nn.ModuleDict({"backbone": wrapped}).load_state_dict(state)
    from_file.init_weights()
    for vit in (plain, wrapped, from_file):
        assert torch.equal(vit(images)[-1], expected)
        assert torch.equal(vit.last_attention(images), shared.last_attention(images))
        tables = [layer.position_encoding.table for layer in vit.layers]
        assert tables[0].data_ptr() != tables[1].data_ptr()
    # Its own state dict is loaded as it is.
    plain.layers[1].position_encoding.table.data.zero_()
    wrapped.load_state_dict(plain.state_dict())
    assert not wrapped.layers[1].position_encoding.table.any()


def test_a_table_of_a_file_is_resized(tmp_path):
    torch.save(relative().state_dict(), tmp_path / "small.pth")
    encoding = {"type": "mmdino.RelativePositionBias", "num_heads": 2, "grid": (4, 6)}
    init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "small.pth")}
    vit = build(
        learned_positions=False,
        position_encoding=encoding,
        position_encoding_per_block=True,
        init_cfg=init_cfg,
    )
    vit.init_weights()
    assert len(vit.layers[1].position_encoding.table) == 7 * 11 + 3


def test_tables_of_blocks_are_of_the_layer_of_their_block():
    """For layer-wise rates; a shared one is of the head's."""
    vit = relative(position_encoding_per_block=True)
    names = ["layers.0.position_encoding.table", "layers.1.position_encoding.table"]
    assert [vit.get_layer_depth(name) for name in names] == [(1, 4), (2, 4)]
    assert relative().get_layer_depth("position_encoding.table") == (3, 4)


CHOICES = {
    "class token": {},
    "chance": {"drop_path_rate": 0.4},
    "rows": {
        "drop_path_rate": 0.4,
        "drop_path_uniform": True,
        "drop_path_rows": True,
        "layer_scale_init_value": 0.1,
        "num_registers": 2,
        "local_norm": True,
    },
    "rotary": {
        "position_encoding": {"type": "mmdino.RotaryPositions", "head_dims": 4, "rescale": 2},
        "arch": {**ARCH, "num_heads": 3},
        "key_bias": False,
        "num_registers": 3,
    },
    "bias": {
        "position_encoding": {
            "type": "mmdino.RelativePositionBias",
            "grid": (4, 4),
            "num_heads": 2,
            "num_extra_tokens": 1,
        }
    },
    "dropout": {"drop_rate": 0.2, "drop_path_rate": 0.2},
    "checkpoints": {"with_cp": True, "drop_path_rate": 0.3, "ffn": "swiglu"},
    "no bias": {"qkv_bias": False, "norm_outputs": True},
}
READ = torch.tensor([3, 4, 17, 40, 41, 79])


def read_tokens_and_gradients(options, choice, local=False):
    """Class tokens, the patches that are read, gradients, and a number that is drawn after them."""
    torch.manual_seed(0)
    vit = build(out_type="features", **options).double().train()
    for parameter in vit.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    images = torch.randn(5, 3, 32, 32, dtype=torch.float64)
    (features,) = vit(images, local=local, patches=choice)
    tokens, drawn = [features.cls], torch.rand(3)
    if choice is not False:
        whole = features.patches.dim() == 3
        tokens.append(features.patches.flatten(0, 1)[READ] if whole else features.patches)
    return tokens, list(vit.parameters()), drawn


@pytest.mark.parametrize("choice", [READ, False], ids=["patches", "class token"])
@pytest.mark.parametrize("options", CHOICES.values(), ids=CHOICES)
def test_what_is_not_read_changes_nothing(options, choice):
    seen = []
    for asked in (choice, True):
        tokens, parameters, drawn = read_tokens_and_gradients(options, asked, local=True)
        tokens = tokens[: 1 if choice is False else 2]
        loss = sum((token.sin() ** 2).sum() for token in tokens)
        grads = torch.autograd.grad(loss, parameters, materialize_grads=True, allow_unused=True)
        seen.append([*tokens, drawn, *grads])
    for found, expected in zip(*seen, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_what_is_not_read_is_not_computed():
    vit = build(out_type="features", drop_rate=0.0).train()
    images = torch.randn(5, 3, 32, 32)
    widths = []
    handle = vit.layers[-1].ffn.register_forward_hook(
        lambda _, args, output: widths.append(output.numel() // output.shape[-1])
    )
    for choice in (True, READ, False):
        (features,) = vit(images, patches=choice)
    handle.remove()
    assert widths == [5 * 17, 5 + len(READ), 5]
    assert features.patches is None
    assert features.registers is None
    whole = build(out_type="featmap")(images, patches=False)[0]
    assert whole.shape[-2:] == (4, 4)


def test_in_bfloat16_on_a_cpu_it_compiles_to_one_graph(monkeypatch):
    """A break in every block costs a compilation for each, until torch.compile gives up."""
    torch.compiler.reset()
    monkeypatch.setattr(attention, "HAS_BFLOAT16_PRODUCTS", True)
    vit = build(drop_path_rate=0.1).train()
    compiled = torch.compile(vit, backend="eager", fullgraph=True)
    images, figures = torch.randn(2, 3, 16, 16), []
    for network in (vit, compiled):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            tokens = network(images)[-1].float()
        (gradient,) = torch.autograd.grad(tokens.square().sum(), [vit.pos_embed])
        figures.append((tokens, gradient))
    for found, expected in zip(*figures, strict=True):
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)

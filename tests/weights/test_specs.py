"""Configs are inferred from tensors and texts, and no text is executed."""

from __future__ import annotations

import pytest
import tiny_weights
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmdino.utils.rotary import rotary_periods
from mmdino.weights.networks import backbone_weights
from mmdino.weights.specs import (
    config_in_meta,
    config_in_text,
    resnet_config,
    vit_config,
)


def test_vit_config_builds_the_same_network():
    vit = tiny_weights.vit(img_size=48, patch_size=16, in_channels=4, qkv_bias=False)
    config, source = vit_config(vit.state_dict(), num_heads=2)
    assert (config["img_size"], config["patch_size"], config["in_channels"]) == (48, 16, 4)
    assert source == "as given"
    MODELS.build(config).load_state_dict(vit.state_dict())


def test_a_named_architecture_tells_its_heads():
    vit = tiny_weights.vit(arch="deit-tiny")
    stored = {"type": "mmdino.VisionTransformer", "arch": "deit-tiny"}
    config, source = vit_config(vit.state_dict(), stored)
    assert (config["arch"]["num_heads"], source) == (3, "from the file")


def test_a_grid_that_is_not_square_is_the_files_to_say():
    vit = tiny_weights.vit(img_size=(32, 48))
    config, _ = vit_config(vit.state_dict(), {"img_size": [32, 48]}, num_heads=2)
    assert config["img_size"] == [32, 48]
    with pytest.raises(ValueError, match="24 patches, which is not a square"):
        vit_config(vit.state_dict(), num_heads=2)


def test_options_that_change_what_is_computed_are_kept_and_others_are_not():
    stored = {"norm_cfg": {"type": "LN", "eps": 1e-12}, "drop_path_rate": 0.1}
    config, _ = vit_config(tiny_weights.vit().state_dict(), stored, num_heads=2)
    assert config["norm_cfg"]["eps"] == 1e-12
    assert "drop_path_rate" not in config


@pytest.mark.parametrize(
    ("kind", "offset"),
    [
        ("mmdino.VisionTransformer", None),
        ("mmdino.DINOVisionTransformer", None),  # its name before version 0.1
        ("VisionTransformer", 0.0),  # mmpretrain's
    ],
)
def test_our_own_vit_keeps_its_offset_by_either_name(kind, offset):
    text = f"model = dict(type='mmdino.DINO', backbone=dict(type={kind!r}, arch='deit-tiny'))"
    stored = config_in_text(text)
    config, source = vit_config(tiny_weights.vit(arch="deit-tiny").state_dict(), stored)
    assert (config.get("pos_embed_offset"), source) == (offset, "from the file")


def test_registers_are_told_by_their_tensor():
    vit = tiny_weights.vit(num_registers=3)
    config, _ = vit_config(vit.state_dict(), num_heads=2)
    MODELS.build(config).load_state_dict(vit.state_dict())


def relative(grid, **options):
    """A ViT whose blocks have tables of relative positions."""
    encoding = {"type": "mmdino.RelativePositionBias", "num_heads": 2, "grid": grid}
    return tiny_weights.vit(
        learned_positions=False, key_bias=False, position_encoding=encoding, **options
    )


@pytest.mark.parametrize("per_block", [False, True])
def test_tables_of_relative_positions_tell_heads_and_grid(per_block):
    vit = relative([4, 4], position_encoding_per_block=per_block)
    config, _ = vit_config(vit.state_dict())
    assert config["position_encoding"]["grid"] == [4, 4]
    assert config["arch"]["num_heads"] == 2
    assert config["position_encoding_per_block"] is per_block
    assert config["key_bias"] is False
    MODELS.build(config).load_state_dict(vit.state_dict())


def test_rotary_positions_of_each_block_are_told_by_their_periods():
    options = tiny_weights.DINOV3["dinov3"]
    vit = tiny_weights.vit(**options, position_encoding_per_block=True)
    for layer in vit.layers:
        layer.position_encoding.periods.copy_(rotary_periods(8, 50.0))
    config, _ = vit_config(vit.state_dict())
    assert config["position_encoding_per_block"] is True
    assert config["position_encoding"]["base"] == pytest.approx(50)
    assert config["arch"]["num_heads"] == 2
    MODELS.build(config).load_state_dict(vit.state_dict())


def test_a_table_of_another_grid_is_the_files_to_say():
    vit = relative([3, 5])
    stored = {"position_encoding": {"type": "mmdino.RelativePositionBias", "grid": [3, 5]}}
    config, _ = vit_config(vit.state_dict(), stored)
    assert config["position_encoding"]["grid"] == [3, 5]
    MODELS.build(config).load_state_dict(vit.state_dict())
    with pytest.raises(ValueError, match="48 rows, which are those of no square grid"):
        vit_config(vit.state_dict())
    with pytest.raises(ValueError, match="3 heads according to the file"):
        vit_config(relative([4, 4]).state_dict(), {"arch": {"num_heads": 3}})


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_resnet_config_tells_the_depth(depth):
    cfg = {"type": "mmdino.ResNet", "depth": depth, "base_channels": 8, "stem_channels": 8}
    state = MODELS.build(cfg | {"out_indices": (3,)}).state_dict()
    config = resnet_config(state)
    assert config["depth"] == depth
    MODELS.build(config).load_state_dict(state)


def test_an_unknown_resnet_is_refused():
    state = {"conv1.weight": torch.zeros(8, 3, 3, 3), "layer1.0.conv1.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"\(1, 0, 0, 0\) blocks per stage.*7 x 7"):
        resnet_config(state)


def test_the_text_of_a_config_is_read_like_the_config():
    backbone = tiny_weights.VIT | {"norm_cfg": {"type": "LN", "eps": 1e-5}, "img_size": (32, 48)}
    cfg = Config({"model": {"type": "Any", "inner": [{"backbone": backbone}], "x-y": -1}})
    found = config_in_text(cfg.pretty_text)
    assert found["arch"] == backbone["arch"]
    assert found["img_size"] == [32, 48]
    assert found["norm_cfg"]["eps"] == 1e-5


def test_the_backbone_comes_before_a_frozen_teacher():
    vits = [{"type": "mmdino.VisionTransformer", "patch_size": size} for size in (14, 16)]
    model = {"frozen_teacher": {"backbone": vits[0]}, "backbone": vits[1]}
    assert config_in_text(f"model = {model}") == vits[1]


@pytest.mark.parametrize("scope", ["mmdino", "mmpretrain"])
def test_a_config_that_imports_its_classes_says_what_no_tensor_shows(tmp_path, scope):
    vit = {**tiny_weights.VIT, "patch_size": 8, "norm_cfg": {"type": "LN", "eps": 1e-3}}
    state = {f"backbone.{name}": t for name, t in tiny_weights.vit().state_dict().items()}
    cfg = Config({"model": {"backbone": {**vit, "type": f"{scope}.models.VisionTransformer"}}})
    torch.save({"state_dict": state, "meta": {"cfg": cfg.pretty_text}}, tmp_path / "run.pth")
    weights = backbone_weights(tmp_path / "run.pth")
    assert (weights.kind, weights.heads_from) == ("vit", "from the file")
    assert weights.config["arch"]["num_heads"] == tiny_weights.HEADS
    assert weights.config["norm_cfg"]["eps"] == 1e-3
    assert weights.config.get("pos_embed_offset") == (None if scope == "mmdino" else 0.0)


def test_the_activation_of_mmpretrains_blocks_is_kept_and_others_are_refused():
    state = tiny_weights.vit().state_dict()

    def config(layers):
        stored = {"type": "mmpretrain.VisionTransformer", "layer_cfgs": layers}
        return vit_config(state, stored, num_heads=2)[0]

    quick = {"act_cfg": {"type": "mmpretrain.QuickGELU"}}
    assert config(quick)["ffn"] == config([quick] * 2)["ffn"] == "mlp_quick_gelu"
    for plain in ({}, [], {"act_cfg": {"type": "GELU"}}, {"drop_rate": 0.1}):
        assert "ffn" not in config(plain)
    for other in ([quick, {}], {"act_cfg": {"type": "ReLU"}}, {"norm_cfg": {}}, "os.system", [3]):
        with pytest.raises(ValueError, match=r"layer_cfgs=.*GELU or QuickGELU, all the same"):
            config(other)


def test_the_text_of_a_config_is_not_executed(tmp_path):
    ran = tmp_path / "ran"
    text = (
        f"open({str(ran)!r}, 'w')\n"
        f"model = dict(init=open({str(ran)!r}, 'w'), type='mmdino.VisionTransformer')\n"
    )
    assert config_in_text(text) == {"init": None, "type": "mmdino.VisionTransformer"}
    assert not ran.exists()


@pytest.mark.parametrize("text", ["model = dict(", "work_dir = 'a'", "model = dict(type='ResNet')"])
def test_a_text_without_a_vit_gives_none(text):
    assert config_in_text(text) is None
    assert config_in_meta({"cfg": text}) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("norm_cfg", {"type": "os._exit"}),
        ("norm_cfg", {"type": "LN", "eps": {"type": "os._exit"}}),
        ("interpolate_mode", "os.system"),
        ("qkv_bias", "yes"),
        ("layer_scale_init_value", [1]),
        ("key_bias", "os.system"),
        ("pos_embed_antialias", 1),
        ("position_encoding", {"type": "os._exit"}),
        ("position_encoding", "os._exit"),
        ("position_encoding", {"type": "mmdino.RelativePositionBias", "grid": ["os._exit"]}),
        ("position_encoding", {"type": "mmdino.RotaryPositions", "base": {"type": "os._exit"}}),
        ("img_size", "32"),
        ("img_size", [32]),
    ],
)
def test_a_config_in_a_file_names_nothing_to_call(name, value):
    stored = {"type": "mmdino.VisionTransformer", name: value}
    with pytest.raises(ValueError, match=f"config in the file has {name}="):
        vit_config(tiny_weights.vit().state_dict(), stored, num_heads=2)


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "1", "{", None, 3])
def test_json_that_is_no_config_is_refused(text):
    with pytest.raises(ValueError, match="expected a JSON object"):
        config_in_meta({"backbone": text})


@pytest.mark.parametrize(
    "text",
    ["model = " + "(" * 10**5, "model = " + "-" * 10**5 + "1", "model = a" + ".b" * 10**4, "\0"],
)
def test_text_that_is_no_config_is_passed_over(text):
    assert config_in_text(text) is None


def test_text_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="has 2000000 characters, allowed are 1048576"):
        config_in_text("#" * 2_000_000)


def test_shapes_do_not_ask_for_a_network_beyond_the_file():
    state = tiny_weights.vit().state_dict()
    state["patch_embed.projection.weight"] = torch.zeros(64_000, 1, 1, 1)
    with pytest.raises(ValueError, match=r"a network with .* numbers, but the file has"):
        vit_config(state, num_heads=1)
    names = {"conv1.weight": torch.zeros(4, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(9000, 1)}
    blocks = {f"layer{stage}.{i}.x": torch.zeros(1) for stage in range(1, 5) for i in range(2)}
    with pytest.raises(ValueError, match=r"a network with .* numbers, but the file has"):
        resnet_config(names | blocks)


def test_layers_are_numbered_from_0_on():
    state = tiny_weights.vit().state_dict()
    state["layers.999999999.ln1.weight"] = torch.zeros(12)
    with pytest.raises(ValueError, match=r"layers\.\* of the file are not numbered from 0 on"):
        vit_config(state, num_heads=2)


def test_tensors_of_another_number_of_axes_are_refused():
    state = tiny_weights.vit().state_dict()
    state["pos_embed"] = torch.zeros(12)
    with pytest.raises(ValueError, match=r"its tensors have the shapes .*'pos_embed': \(12,\)"):
        vit_config(state, num_heads=2)

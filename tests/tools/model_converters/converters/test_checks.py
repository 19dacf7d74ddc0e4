"""Converted weights give the same features in the code of the project they are for."""

from __future__ import annotations

import json
import sys

import pytest
import tiny_weights
import torch
import torchvision

from converters.checks import check_backbone, check_full, features_by, random_images
from converters.conversion import convert_backbone, full_weights, write_backbone
from mmdino.utils.rotary import rotary_periods
from mmdino.weights.files import write_tensors
from mmdino.weights.networks import backbone_weights
from mmdino.weights.specs import RELATIVE, vit_config


def vit_weights(tmp_path):
    write_tensors(tmp_path / "vit.pth", tiny_weights.vit().state_dict())
    return backbone_weights(tmp_path / "vit.pth", num_heads=2)


@pytest.mark.parametrize("project", ["mmdino", "authors", "timm", "huggingface"])
def test_vit_of_mmdino_in_each_project(tmp_path, project):
    weights = vit_weights(tmp_path)
    assert check_backbone(weights, project, convert_backbone(weights, project)) < 1e-9


def test_networks_that_no_other_code_computes_are_refused(tmp_path):
    weights = vit_weights(tmp_path)
    for option in ({"pre_norm": True}, {"position_encoding": {"type": RELATIVE}}):
        other = weights._replace(config=weights.config | option)
        with pytest.raises(ValueError, match="--check has no code for networks of CLIP or with a"):
            check_backbone(other, "mmdino", other.state_dict)


@pytest.mark.parametrize("project", ["authors", "timm", "huggingface"])
def test_a_grey_vit_without_qkv_bias_on_a_grid_that_is_not_square(tmp_path, project):
    vit = tiny_weights.vit(qkv_bias=False, in_channels=1, img_size=(32, 48))
    config, _ = vit_config(vit.state_dict(), {"img_size": [32, 48]}, num_heads=2)
    write_tensors(tmp_path / "vit.pth", vit.state_dict(), {"backbone": json.dumps(config)})
    weights = backbone_weights(tmp_path / "vit.pth")
    assert random_images(weights.config).shape == (2, 1, 32, 48)
    assert check_backbone(weights, project, convert_backbone(weights, project)) < 1e-9


def test_a_file_of_another_project_is_computed_with_its_code(tmp_path, monkeypatch):
    weights = vit_weights(tmp_path)
    tensors = convert_backbone(weights, "huggingface")
    write_backbone(tmp_path / "hf", "huggingface", weights, tensors)
    back = backbone_weights(tmp_path / "hf")
    assert back.project == "huggingface"
    assert check_backbone(back, "mmdino", back.state_dict) < 1e-9
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match="pip install transformers"):
        check_backbone(back, "mmdino", back.state_dict)


@pytest.mark.parametrize("project", ["mmdino", "authors", "timm"])
def test_resnet50_in_each_project(tmp_path, project):
    torch.manual_seed(0)
    write_tensors(tmp_path / "r.pth", torchvision.models.resnet50().state_dict())
    weights = backbone_weights(tmp_path / "r.pth")
    assert check_backbone(weights, project, convert_backbone(weights, project)) < 1e-9


def test_the_number_of_heads_changes_what_is_computed(tmp_path):
    """No tensor shows it, which is why a file that does not say it has it assumed or asked for."""
    weights = vit_weights(tmp_path)
    tensors = convert_backbone(weights, "huggingface")
    images = random_images(weights.config)
    right = features_by("huggingface", weights.config, tensors, images)
    arch = weights.config["arch"] | {"num_heads": 3}
    wrong = features_by("huggingface", weights.config | {"arch": arch}, tensors, images)
    assert (right - wrong).abs().max() > 1e-3


def test_converted_tensors_that_differ_fail(tmp_path):
    weights = vit_weights(tmp_path)
    tensors = convert_backbone(weights, "authors")
    tensors["blocks.1.attn.qkv.bias"] = tensors["blocks.1.attn.qkv.bias"].flip(0)
    with pytest.raises(ValueError, match="The check failed, nothing was written"):
        check_backbone(weights, "authors", tensors)
    tensors["norm.bias"] = tensors["norm.bias"] * float("nan")
    with pytest.raises(ValueError, match="largest difference is nan"):
        check_backbone(weights, "authors", tensors)


@pytest.mark.parametrize("project", ["timm", "huggingface"])
def test_tensors_without_a_place_fail(tmp_path, project):
    weights = vit_weights(tmp_path)
    tensors = convert_backbone(weights, project) | {"more": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"more"):
        check_backbone(weights, project, tensors)


def test_a_tensor_of_another_shape_fails_in_transformers(tmp_path):
    weights = vit_weights(tmp_path)
    tensors = convert_backbone(weights, "huggingface")
    tensors["embeddings.cls_token"] = torch.zeros(1, 1, 5)
    with pytest.raises(ValueError, match=r"from_pretrained does not load .*embeddings\.cls_token"):
        check_backbone(weights, "huggingface", tensors)


def test_a_quick_gelu_is_checked_with_its_own_activation(tmp_path):
    weights = vit_weights(tmp_path)
    quick = weights._replace(config=weights.config | {"ffn": "mlp_quick_gelu"})
    assert check_backbone(quick, "mmdino", quick.state_dict) < 1e-9
    model = tiny_weights.dino()
    path = tiny_weights.save_training_checkpoint(tmp_path / "epoch_2.pth", model)
    full = full_weights(path, num_heads=2)
    full.config["backbone"]["ffn"] = "mlp_quick_gelu"
    assert check_full(full) < 1e-9


@pytest.mark.parametrize("use_bn", [False, True])
@pytest.mark.parametrize("source", ["authors", "mmdino"])
def test_full_file(tmp_path, use_bn, source):
    model = tiny_weights.dino(use_bn)
    if source == "authors":
        path = tiny_weights.save_authors_full(tmp_path / "full.pth", model, wrap_teacher=use_bn)
    else:
        path = tiny_weights.save_training_checkpoint(tmp_path / "epoch_2.pth", model)
    assert check_full(full_weights(path, num_heads=2)) < 1e-9


@pytest.mark.parametrize("kind", ["teacher", "model"])
def test_full_file_of_dinov2(tmp_path, kind):
    model = tiny_weights.dinov2(patch_head=True)
    path = tiny_weights.save_dinov2_training_file(tmp_path / "a.pth", model, kind)
    weights = full_weights(path, num_heads=2)
    assert check_full(weights) < 1e-12
    name = "teacher.patch_head.mlp.0.weight"
    other = weights.state_dict | {name: -weights.state_dict[name]}
    with pytest.raises(ValueError, match="The check failed"):
        check_full(weights._replace(state_dict=other))


def test_a_full_file_whose_heads_are_mixed_up_fails(tmp_path):
    path = tiny_weights.save_authors_full(tmp_path / "full.pth", tiny_weights.dino())
    weights = full_weights(path, num_heads=2)
    names = "head.mlp.0.weight", "teacher.head.mlp.0.weight"
    state = weights.state_dict
    state[names[0]], state[names[1]] = state[names[1]], state[names[0]]
    with pytest.raises(ValueError, match="The check failed"):
        check_full(weights)


@pytest.mark.parametrize(("project", "name"), [("timm", "timm"), ("huggingface", "transformers")])
def test_a_package_that_is_not_there(tmp_path, monkeypatch, project, name):
    weights = vit_weights(tmp_path)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=f"not installed: pip install {name}"):
        check_backbone(weights, project, convert_backbone(weights, project))


@pytest.mark.parametrize("project", ["mmdino", "authors", "timm", "huggingface"])
@pytest.mark.parametrize("name", [*tiny_weights.DINOV2, *tiny_weights.DINOV3])
def test_dinov2_and_dinov3_there_and_back(tmp_path, name, project):
    """A checkpoint of a run, another project's file made of it, and mmdino's made of that."""
    options = {**tiny_weights.DINOV2, **tiny_weights.DINOV3}[name]
    vit = tiny_weights.vit(**options)
    cfg = {"backbone": {**tiny_weights.VIT, "patch_size": 8, **options}}
    path = tiny_weights.save_training_checkpoint(
        tmp_path / "a.pth", torch.nn.ModuleDict({"backbone": vit}), cfg
    )
    weights = backbone_weights(path)
    tensors = convert_backbone(weights, project)
    assert check_backbone(weights, project, tensors) < 1e-5
    target = tmp_path / ("b" if project == "huggingface" else "b.pth")
    write_backbone(target, project, weights, tensors)
    back = backbone_weights(target, num_heads=2)
    lost = {"mask_token"} if project == "timm" else set()
    assert back.state_dict.keys() == weights.state_dict.keys() - lost
    own = convert_backbone(back, "mmdino")
    assert check_backbone(back, "mmdino", own) < 1e-5
    images = random_images(weights.config)
    first, second = (
        features_by("mmdino", each.config, each.state_dict, images) for each in (weights, back)
    )
    # timm's class token is a sum in float32, of the token and its position.
    rounding = 1e-7 if (name, project) == ("dinov2_registers", "timm") else 1e-9
    torch.testing.assert_close(first, second, rtol=0, atol=rounding)


@pytest.mark.parametrize(
    "options", [{}, tiny_weights.DINOV2["dinov2_registers"], tiny_weights.DINOV3["dinov3"]]
)
def test_a_quick_gelu_goes_to_huggingface_and_back(tmp_path, options):
    options = {**options, "ffn": "mlp_quick_gelu"}
    vit = tiny_weights.vit(**options)
    config, _ = vit_config(vit.state_dict(), {**tiny_weights.VIT, **options})
    write_tensors(tmp_path / "vit.pth", vit.state_dict(), {"backbone": json.dumps(config)})
    weights = backbone_weights(tmp_path / "vit.pth")
    tensors = convert_backbone(weights, "huggingface")
    assert check_backbone(weights, "huggingface", tensors) < 1e-5
    write_backbone(tmp_path / "hf", "huggingface", weights, tensors)
    assert json.loads((tmp_path / "hf" / "config.json").read_text())["hidden_act"] == "quick_gelu"
    assert backbone_weights(tmp_path / "hf").config["ffn"] == "mlp_quick_gelu"


def test_periods_that_a_file_has_rounded_are_those_of_its_project(tmp_path):
    """The authors' files have them in bfloat16; timm and Hugging Face compute them."""
    vit = tiny_weights.vit(**tiny_weights.DINOV3["dinov3"])
    vit.position_encoding.periods.copy_(vit.position_encoding.periods.bfloat16())
    write_tensors(tmp_path / "vit.pth", vit.state_dict())
    weights = backbone_weights(tmp_path / "vit.pth")
    assert weights.config["position_encoding"]["base"] == 100
    weights = weights._replace(config={**weights.config, "norm_cfg": {"type": "LN", "eps": 1e-5}})
    for project in ("authors", "timm", "huggingface"):
        assert check_backbone(weights, project, convert_backbone(weights, project)) < 1e-5


@pytest.mark.parametrize("project", ["mmdino", "authors", "timm", "huggingface"])
def test_rotary_positions_of_each_block_become_those_of_all(tmp_path, project):
    options = tiny_weights.DINOV3["dinov3"]
    vit = tiny_weights.vit(**options, position_encoding_per_block=True)
    for layer in vit.layers:
        layer.position_encoding.periods.copy_(rotary_periods(8))
    config, _ = vit_config(vit.state_dict(), options)
    write_tensors(tmp_path / "vit.pth", vit.state_dict(), {"backbone": json.dumps(config)})
    weights = backbone_weights(tmp_path / "vit.pth")
    assert weights.state_dict.keys() == vit.state_dict().keys()
    tensors = convert_backbone(weights, project)
    assert check_backbone(weights, project, tensors) < 1e-5
    assert not any(name.startswith("blocks.0.position_encoding") for name in tensors)


def test_learned_and_rotary_positions_at_once_are_no_other_projects(tmp_path):
    vit = tiny_weights.vit(**{**tiny_weights.DINOV3["dinov3"], "learned_positions": True})
    write_tensors(tmp_path / "vit.pth", vit.state_dict())
    with pytest.raises(ValueError, match="has learned positions and rotary positions"):
        convert_backbone(backbone_weights(tmp_path / "vit.pth"), "authors")

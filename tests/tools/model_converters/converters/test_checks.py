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
from mmdino.weights.files import write_tensors
from mmdino.weights.networks import backbone_weights
from mmdino.weights.specs import vit_config


def vit_weights(tmp_path):
    write_tensors(tmp_path / "vit.pth", tiny_weights.vit().state_dict())
    return backbone_weights(tmp_path / "vit.pth", num_heads=2)


@pytest.mark.parametrize("project", ["mmdino", "authors", "timm", "huggingface"])
def test_vit_of_mmdino_in_each_project(tmp_path, project):
    weights = vit_weights(tmp_path)
    assert check_backbone(weights, project, convert_backbone(weights, project)) < 1e-9


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


@pytest.mark.parametrize("use_bn", [False, True])
@pytest.mark.parametrize("source", ["authors", "mmdino"])
def test_full_file(tmp_path, use_bn, source):
    model = tiny_weights.dino(use_bn)
    if source == "authors":
        path = tiny_weights.save_authors_full(tmp_path / "full.pth", model, wrap_teacher=use_bn)
    else:
        path = tiny_weights.save_training_checkpoint(tmp_path / "epoch_2.pth", model)
    assert check_full(full_weights(path, num_heads=2)) < 1e-9


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

"""A backbone goes to another project's names and back, as the same numbers."""

from __future__ import annotations

import re

import pytest
import tiny_weights
import torch
import torchvision
from mmengine.registry import MODELS

from converters.conversion import (
    convert_backbone,
    full_checkpoint,
    full_weights,
    grid_note,
    keep_expected,
    match_weights,
    require_match,
    write_backbone,
    write_full,
)
from mmdino.weights.files import read_checkpoint, write_tensors
from mmdino.weights.matching import compare
from mmdino.weights.networks import backbone_weights

EXPECTED = {"a": torch.zeros(2), "b": torch.zeros(3), "c": torch.zeros(1)}
TARGETS = {
    "mmdino": "out.safetensors",
    "authors": "out.pth",
    "timm": "out.safetensors",
    "huggingface": "out",
}


@pytest.fixture
def weights(tmp_path):
    write_tensors(tmp_path / "vit.pth", tiny_weights.vit().state_dict())
    return backbone_weights(tmp_path / "vit.pth", num_heads=2)


@pytest.mark.parametrize("project", TARGETS)
def test_vit_comes_back(tmp_path, weights, project):
    tensors = convert_backbone(weights, project)
    write_backbone(tmp_path / TARGETS[project], project, weights, tensors)
    back = backbone_weights(tmp_path / TARGETS[project], num_heads=2)
    expected = weights.state_dict
    assert back.state_dict.keys() == expected.keys()
    assert all(torch.equal(back.state_dict[name], expected[name]) for name in expected)


@pytest.mark.parametrize("project", ["mmdino", "authors", "timm"])
def test_resnet_comes_back(tmp_path, project):
    theirs = torchvision.models.resnet18().state_dict()
    write_tensors(tmp_path / "resnet.pth", theirs)
    weights = backbone_weights(tmp_path / "resnet.pth")
    tensors = convert_backbone(weights, project)
    write_backbone(tmp_path / "out.pth", project, weights, tensors)
    back = backbone_weights(tmp_path / "out.pth").state_dict
    assert {*theirs} - {*back} == {"fc.weight", "fc.bias"}
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in back.items())


def test_mmpretrain_loads_an_extracted_file_through_init_cfg(tmp_path, weights):
    path = tmp_path / "out.pth"
    write_backbone(path, "mmdino", weights, weights.state_dict)
    cfg = tiny_weights.VIT | {"type": "VisionTransformer", "patch_size": 8}
    init_cfg = {"type": "Pretrained", "checkpoint": str(path)}
    vit = MODELS.build(cfg | {"init_cfg": init_cfg})
    vit.init_weights()
    for name, tensor in vit.state_dict().items():
        assert torch.equal(tensor, weights.state_dict[name])


def test_a_target_of_another_kind_is_refused(tmp_path, weights):
    for project, name in (("authors", "a.safetensors"), ("huggingface", "a.pth"), ("timm", "a")):
        with pytest.raises(ValueError, match=r"Cannot write to .*: expected a f"):
            write_backbone(tmp_path / name, project, weights, {})
    assert not list(tmp_path.glob("a*"))


def test_networks_that_a_project_has_not_are_refused(tmp_path, weights):
    write_tensors(tmp_path / "resnet.pth", torchvision.models.resnet18().state_dict())
    with pytest.raises(ValueError, match="is a ResNet, but Hugging Face's ViTModel is a ViT"):
        convert_backbone(backbone_weights(tmp_path / "resnet.pth"), "huggingface")
    other = weights._replace(config=weights.config | {"pre_norm": True})
    with pytest.raises(ValueError, match=r"pre_norm=True, which the other projects"):
        convert_backbone(other, "timm")
    encoding = {"type": "mmdino.RelativePositionBias", "num_heads": 2}
    other = weights._replace(config=weights.config | {"position_encoding": encoding})
    with pytest.raises(ValueError, match="a table of relative positions, which the other"):
        convert_backbone(other, "authors")
    with pytest.raises(ValueError, match="Unknown project 'keras'"):
        convert_backbone(weights, "keras")


@pytest.mark.parametrize("project", ["authors", "timm"])
def test_a_quick_gelu_that_no_file_says_is_refused(weights, project):
    quick = weights._replace(config=weights.config | {"ffn": "mlp_quick_gelu"})
    with pytest.raises(ValueError, match=r"ffn='mlp_quick_gelu'.* Convert it to huggingface"):
        convert_backbone(quick, project)


def test_a_full_file_of_the_authors_says_no_quick_gelu(tmp_path):
    path = tiny_weights.save_training_checkpoint(tmp_path / "a.pth", tiny_weights.dino())
    full = full_weights(path)
    full.config["backbone"]["ffn"] = "mlp_quick_gelu"
    with pytest.raises(ValueError, match="a file for authors would be another network"):
        full_checkpoint(full, "authors")
    assert full_checkpoint(full, "mmdino")["state_dict"].keys() == full.state_dict.keys()


@pytest.mark.parametrize(
    ("project", "message"),
    [
        ("timm", r"of 4 x 16 patches\. Pass img_size=\(32, 128\) to timm\."),
        ("authors", r"of 4 x 16 patches\. The authors' code takes them for those of a square\."),
        ("huggingface", "^$"),
        ("mmdino", "^$"),
    ],
)
def test_a_grid_that_a_file_does_not_say_is_noted(weights, project, message):
    config = {**weights.config, "img_size": [32, 128]}
    assert re.search(message, grid_note(config, project))
    for other in ({"img_size": 64}, {"img_size": [64, 64]}, {"learned_positions": False}):
        assert not grid_note({**config, **other}, project)
    assert not grid_note({"type": "mmdino.ResNet", "depth": 18}, project)


@pytest.mark.parametrize("use_bn", [False, True])
def test_a_training_checkpoint_goes_to_the_authors_and_back(tmp_path, use_bn):
    model = tiny_weights.dino(use_bn)
    path = tiny_weights.save_training_checkpoint(tmp_path / "epoch_2.pth", model)
    weights = full_weights(path)
    assert match_weights(weights).complete
    assert weights.epoch == 2
    write_full(tmp_path / "full.pth", full_checkpoint(weights, "authors"))
    back = full_weights(tmp_path / "full.pth", num_heads=2)
    assert back.config == weights.config
    assert back.epoch == 2
    assert back.state_dict.keys() == weights.state_dict.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict[name], tensor)


@pytest.mark.parametrize("patch_head", [False, True])
def test_a_dinov2_goes_to_the_authors_and_back(tmp_path, patch_head):
    model = tiny_weights.dinov2(patch_head)
    torch.save({"state_dict": model.state_dict(), "meta": {"epoch": 3}}, tmp_path / "epoch_3.pth")
    weights = full_weights(tmp_path / "epoch_3.pth", num_heads=2)
    assert match_weights(weights).complete
    write_full(tmp_path / "full.pth", full_checkpoint(weights, "authors"))
    back = full_weights(tmp_path / "full.pth", num_heads=2)
    match = match_weights(back)
    assert match.complete
    assert not match.unexpected
    assert back.epoch == 3
    assert back.state_dict.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict[name], tensor)


@pytest.mark.parametrize("kind", ["teacher", "model"])
def test_a_training_file_of_dinov2_becomes_a_checkpoint_that_dinov2_loads(tmp_path, kind):
    model = tiny_weights.dinov2(patch_head=True, num_registers=3)
    path = tiny_weights.save_dinov2_training_file(tmp_path / "a.pth", model, kind)
    weights = full_weights(path, num_heads=2)
    assert match_weights(weights).complete
    assert "student and teacher of DINOv2 with heads" in str(weights)
    write_full(tmp_path / "b.pth", full_checkpoint(weights, "mmdino"))
    state = read_checkpoint(tmp_path / "b.pth")["state_dict"]
    fresh = tiny_weights.dinov2(patch_head=True, num_registers=3)
    fresh.load_state_dict(state)
    for name, tensor in model.teacher.state_dict().items():
        assert torch.equal(fresh.teacher.state_dict()[name], tensor)


def test_a_full_file_for_mmdino_is_tensors_and_says_its_heads(tmp_path):
    model = tiny_weights.dino()
    path = tiny_weights.save_authors_full(tmp_path / "full.pth", model)
    checkpoint = full_checkpoint(full_weights(path, num_heads=2), "mmdino")
    write_full(tmp_path / "mmdino.pth", checkpoint)
    torch.load(tmp_path / "mmdino.pth", weights_only=True)
    assert backbone_weights(tmp_path / "mmdino.pth").heads_from == "from the file"
    state = read_checkpoint(tmp_path / "mmdino.pth")["state_dict"]
    assert state.keys() == model.state_dict().keys()


def test_a_file_of_a_resnet_with_heads(tmp_path):
    model = MODELS.build(
        {
            "type": "mmdino.DINO",
            "backbone": {"type": "mmdino.ResNet", "depth": 18, "out_indices": (3,)},
            "neck": {"type": "GlobalAveragePooling"},
            "head": {"type": "mmdino.DINOHead", "in_channels": 512, "out_channels": 8},
        }
    )
    torch.save({"state_dict": model.state_dict()}, tmp_path / "epoch_1.pth")
    weights = full_weights(tmp_path / "epoch_1.pth")
    assert match_weights(weights).complete
    back = full_checkpoint(weights, "authors")
    assert "module.backbone.layer1.0.conv1.weight" in back["student"]
    assert "module.backbone.layer1.0.conv1.weight" in back["teacher"]


def test_what_is_missing_from_a_full_file_is_named(tmp_path):
    model = tiny_weights.dino()
    path = tiny_weights.save_authors_full(tmp_path / "full.pth", model)
    content = read_checkpoint(path)
    del content["dino_loss"]
    del content["teacher"]["head.mlp.0.bias"]
    torch.save(content, path)
    match = match_weights(full_weights(path, num_heads=2))
    assert sorted(match.missing) == ["dino_loss.center", "teacher.head.mlp.0.bias"]


def test_a_backbone_alone_is_no_full_file(tmp_path, weights):
    write_backbone(tmp_path / "out.pth", "mmdino", weights, weights.state_dict)
    with pytest.raises(ValueError, match=r"holds no student and teacher.*Leave out --full"):
        full_weights(tmp_path / "out.pth")


def test_only_the_authors_and_mmdino_have_full_files(tmp_path):
    path = tiny_weights.save_training_checkpoint(tmp_path / "a.pth", tiny_weights.dino())
    with pytest.raises(ValueError, match="'timm' takes a backbone"):
        full_checkpoint(full_weights(path), "timm")


def test_only_tensors_of_the_network_are_kept(weights):
    more = weights._replace(state_dict=weights.state_dict | {"dist_token": torch.zeros(1)})
    assert "dist_token" not in keep_expected(more.state_dict, match_weights(more))


@pytest.mark.parametrize(
    ("loaded", "allowed", "message"),
    [
        ({"a": EXPECTED["a"], "b": EXPECTED["b"]}, "allow_missing", "missing: c.*--allow-missing"),
        (EXPECTED | {"d": torch.zeros(1)}, "allow_unexpected", "unexpected: d.*--allow-unexp"),
    ],
)
def test_a_flag_lets_through_what_is_refused_without(loaded, allowed, message):
    match = compare(loaded, EXPECTED)
    with pytest.raises(ValueError, match=message):
        require_match(match)
    require_match(match, **{allowed: True})


def test_no_flag_lets_another_shape_through():
    match = compare(EXPECTED | {"a": torch.zeros(5)}, EXPECTED)
    with pytest.raises(ValueError, match="A tensor of another shape cannot be converted"):
        require_match(match, allow_missing=True, allow_unexpected=True)


def test_part_of_a_network_cannot_be_checked():
    with pytest.raises(ValueError, match="--check runs the whole network"):
        require_match(compare({}, EXPECTED), allow_missing=True, check=True)

"""Backbones of other classes are built from the config in a checkpoint, and nothing else is."""

from __future__ import annotations

import pytest
import tiny_weights
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from converters.conversion import convert_backbone, write_backbone
from mmdino.evaluation.bank_extraction import load_evaluated
from mmdino.evaluation.features import feature_of
from mmdino.evaluation.pca import load_map_backbone, map_stride
from mmdino.weights.networks import backbone_weights, load_backbone, untrained_like
from mmdino.weights.specs import vit_config
from mmdino.weights.stored_networks import checked_config, shown_by_tensors

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
WIDTHS = {"base_channels": 4, "stem_channels": 4}
VIT = {"arch": tiny_weights.VIT["arch"], "img_size": 32, "patch_size": 8}
NETWORKS = {
    "cifar": dict(type="ResNet_CIFAR", depth=18, **WIDTHS),
    "cifar_4_channels": dict(type="mmpretrain.ResNet_CIFAR", depth=18, in_channels=4, **WIDTHS),
    "dilated": dict(
        type="mmdino.ResNet", depth=18, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), **WIDTHS
    ),
    "deep_stem": dict(type="ResNetV1d", depth=18, base_channels=64, stem_channels=64),
    "swin_v2": dict(
        type="SwinTransformerV2",
        arch=dict(embed_dims=8, depths=[1, 2], num_heads=[2, 2], extra_norm_every_n_blocks=0),
        img_size=32,
        window_size=4,
        out_indices=(1,),
        drop_path_rate=0.3,
        stage_cfgs=dict(block_cfgs=dict(init_cfg=dict(type="Constant", layer="LayerNorm"))),
    ),
    "convnext": dict(
        type="ConvNeXt",
        arch=dict(depths=[1, 1, 1, 1], channels=[4, 4, 8, 8]),
        act_cfg=dict(type="GELU"),
    ),
    "deit3": dict(
        type="DeiT3",
        _scope_="mmpretrain",
        init_cfg=dict(type="Pretrained", checkpoint="gone.pth"),
        **VIT,
    ),
    "mocov3": dict(type="MoCoV3ViT", stop_grad_conv1=True, **VIT),
}


def save_run(path, cfg, model_type="mmdino.DINO"):
    """Writes the checkpoint of a run whose student and teacher have random tensors."""
    backbone = MODELS.build({**cfg, "_scope_": "mmpretrain"} | {"init_cfg": None})
    state = {}
    for seed, prefix in enumerate(("backbone.", "teacher.backbone.")):
        torch.manual_seed(seed)
        for parameter in backbone.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        state |= {f"{prefix}{name}": t.clone() for name, t in backbone.state_dict().items()}
    text = Config({"model": {"type": model_type, "backbone": cfg}}).pretty_text
    torch.save({"meta": {"cfg": text}, "state_dict": state}, path)
    backbone.eval()
    return backbone


@pytest.mark.parametrize("name", NETWORKS)
def test_a_run_of_any_backbone_gives_the_features_of_its_teacher(tmp_path, name):
    teacher = save_run(tmp_path / "epoch_1.pth", NETWORKS[name])
    backbone = load_backbone(tmp_path / "epoch_1.pth")
    images = IMAGES[:, [0, 1, 2, 2]] if "4_channels" in name else IMAGES
    torch.testing.assert_close(feature_of(backbone, images), feature_of(teacher, images))
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize(("name", "stride"), [("cifar", 8), ("swin_v2", 8), ("convnext", 32)])
def test_untrained_and_as_a_map(tmp_path, capsys, name, stride):
    save_run(tmp_path / "epoch_1.pth", NETWORKS[name])
    backbone, _ = load_map_backbone(tmp_path / "epoch_1.pth")
    assert map_stride(backbone) == stride
    assert backbone(IMAGES)[-1].shape[2:] == (32 // stride, 32 // stride)
    fresh, again = (dict(untrained_like(backbone, 0).named_parameters()) for _ in range(2))
    assert all(torch.equal(fresh[name], again[name]) for name in fresh)
    trained = dict(backbone.named_parameters())
    assert not [name for name in fresh if torch.equal(fresh[name], trained[name])]
    load_evaluated(tmp_path / "epoch_1.pth")
    assert f"mmpretrain.{NETWORKS[name]['type']}, as the config" in capsys.readouterr().out


def test_the_small_vit_of_moco_v3_has_more_heads_than_deits():
    stored = {"type": "MoCoV3ViT", "arch": "mocov3-small"}
    config, heads_from = vit_config(tiny_weights.vit().state_dict(), stored)
    assert (config["arch"]["num_heads"], heads_from) == (12, "from the file")
    assert config["pos_embed_offset"] == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"norm_cfg": {"type": "SyncBN", "requires_grad": True}, "frozen_stages": 1}, True),
        ({"num_stages": 4, "strides": [1, 2, 2, 2], "style": "pytorch"}, True),
        ({"norm_cfg": {"type": "GN", "num_groups": 2}}, False),
        ({"style": "caffe"}, False),
        ({"norm_cfg": "BN"}, False),
        ({"_scope_": "mmpretrain", "init_cfg": {"type": "Kaiming"}}, True),
        ({"conv_cfg": {"type": "ConvAWS"}}, False),
    ],
)
def test_what_the_tensors_of_a_resnet_do_not_show(options, expected):
    stored = {"type": "mmdino.ResNet", "depth": 50, **options}
    assert shown_by_tensors(stored) is expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "TIMMBackbone", "model_name": "resnet18"}, "a 'TIMMBackbone', which is not"),
        ({"type": "os.system"}, "a 'os.system', which is not built"),
        ({"type": "mmdino.DINO"}, "a 'mmdino.DINO', which is not built"),
        ({"norm_cfg": {"type": "os._exit"}}, "names the layer 'os._exit'"),
        ({"act_cfg": [{"inner": {"type": "ImageClassifier"}}]}, "names the layer 'ImageCl"),
        ({"depth": 10**9}, "has depth=1000000000, but the file has 1 tensors"),
        ({"depths": [1, 10**9]}, r"has depths=\[1, 1000000000\], but"),
        ({"depth": 1}, "cannot be built as the config in the file says: KeyError"),
        ({"unknown": 1}, "cannot be built as the config in the file says: TypeError"),
        ({"base_channels": 10**6, "depth": 18}, "are not those of the mmpretrain.ResNet_CIFAR"),
    ],
)
def test_a_config_in_a_file_builds_backbones_only(changes, message):
    tensors = {"conv1.weight": torch.zeros(4, 3, 3, 3)}
    if changes.get("depth") == 18:
        tensors = {f"{number}.weight": torch.zeros(1) for number in range(20)}
    with pytest.raises(ValueError, match=message):
        checked_config({"type": "ResNet_CIFAR", "depth": 1, **changes}, tensors, "epoch_1.pth")


def test_an_extracted_backbone_has_its_config_and_no_other_projects_names(tmp_path):
    teacher = save_run(tmp_path / "epoch_1.pth", NETWORKS["convnext"])
    weights = backbone_weights(tmp_path / "epoch_1.pth")
    write_backbone(tmp_path / "teacher.safetensors", "mmdino", weights, weights.state_dict)
    extracted = load_backbone(tmp_path / "teacher.safetensors")
    torch.testing.assert_close(feature_of(extracted, IMAGES), feature_of(teacher, IMAGES))
    with pytest.raises(ValueError, match=r"is a mmpretrain\.ConvNeXt, for which this project has"):
        convert_backbone(weights, "timm")

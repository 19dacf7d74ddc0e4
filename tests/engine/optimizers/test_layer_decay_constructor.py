"""Learning rates a layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_distillation
import tiny_run
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, DefaultScope
from torch import nn

CONFIGS = Path(__file__).parents[3] / "configs"
FINETUNING = CONFIGS / "finetune" / "distill_dino_vitb16_imagenet.py"
LR, DECAY, RATE = 0.1, 0.05, 0.5


class Segmentor(BaseModel):
    """What mmsegmentation's have: a backbone and a head, and no word of depths."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.decode_head = nn.Conv2d(12, 4, 1)

    def forward(self, inputs):
        return self.decode_head(self.backbone(inputs)[0])


def vit(**options):
    return {**tiny_run.vit_model()["backbone"], "out_type": "featmap", **options}


def wrapper_of(model, accumulative_counts=1, **paramwise):
    return build_optim_wrapper(
        model,
        {
            "constructor": "mmdino.LayerDecayConstructor",
            "optimizer": {"type": "AdamW", "lr": LR, "weight_decay": DECAY},
            "accumulative_counts": accumulative_counts,
            "paramwise_cfg": {"layer_decay_rate": RATE, **paramwise},
        },
    )


def groups_of(model, **paramwise):
    """Groups of the optimiser by the names of their parameters."""
    groups = wrapper_of(model, **paramwise).optimizer.param_groups
    return {group["param_name"]: group for group in groups}


def test_rate_halves_from_the_head_to_the_embeddings():
    """Two blocks: embeddings 1/8, first block 1/4, second 1/2, final norm and head 1."""
    model = Segmentor(vit())
    groups = groups_of(model)
    assert set(groups) == {name for name, _ in model.named_parameters()}
    scales = {name: group["lr"] / LR for name, group in groups.items()}
    expected = {
        "backbone.cls_token": 1 / 8,
        "backbone.pos_embed": 1 / 8,
        "backbone.patch_embed.projection.weight": 1 / 8,
        "backbone.layers.0.attn.qkv.weight": 1 / 4,
        "backbone.layers.0.ln1.bias": 1 / 4,
        "backbone.layers.1.ffn.layers.1.weight": 1 / 2,
        "backbone.ln1.weight": 1,
        "decode_head.weight": 1,
        "decode_head.bias": 1,
    }
    assert {name: scales[name] for name in expected} == pytest.approx(expected)


def test_layers_of_a_resnet_differ_too():
    backbone = {"type": "mmdino.ResNet", "stem_channels": 4, "base_channels": 2}
    groups = groups_of(Segmentor(backbone))
    rates = [groups[f"backbone.layer{i}.0.conv1.weight"]["lr"] for i in (1, 2, 3, 4)]
    assert rates == sorted(rates)
    assert rates[0] < rates[-1] < groups["decode_head.weight"]["lr"] == LR


def test_layers_of_a_swin_are_those_of_its_authors():
    """Four blocks; patches merge with the rate of the block before, as mmpretrain has it for V1."""
    arch = {"embed_dims": 4, "depths": [1, 1, 2], "num_heads": [1, 2, 4]}
    options = {"img_size": 32, "window_size": 2, "out_indices": (2,)}
    second = {"type": "mmdino.SwinTransformerV2", **options}
    second["arch"] = {**arch, "extra_norm_every_n_blocks": 0}
    first = {"type": "mmpretrain.SwinTransformer", **options, "arch": arch}
    groups, firsts = groups_of(Segmentor(second)), groups_of(Segmentor(first))
    scales = {name: group["lr"] / LR for name, group in groups.items()}
    expected = {
        "backbone.patch_embed.norm.weight": 1 / 32,
        "backbone.stages.0.blocks.0.norm1.weight": 1 / 16,
        "backbone.stages.1.downsample.reduction.weight": 1 / 16,
        "backbone.stages.1.blocks.0.ffn.layers.1.weight": 1 / 8,
        "backbone.stages.2.downsample.norm.bias": 1 / 8,
        "backbone.stages.2.blocks.0.attn.w_msa.logit_scale": 1 / 4,
        "backbone.stages.2.blocks.1.attn.w_msa.cpb_mlp.0.weight": 1 / 2,
        "backbone.norm2.weight": 1,
        "decode_head.weight": 1,
    }
    assert {name: scales[name] for name in expected} == pytest.approx(expected)
    moved = {"backbone.stages.0.downsample.": "backbone.stages.1.downsample."}
    moved["backbone.stages.1.downsample."] = "backbone.stages.2.downsample."
    for name, group in firsts.items():
        for old, new in moved.items():
            if name.startswith(old):
                name = name.replace(old, new)
                break
        if name in groups:
            assert scales[name] == pytest.approx(group["lr"] / LR), name


def test_wrapped_model_has_the_same_rates():
    """DistributedDataParallel keeps the model in ``module``."""

    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    model = Segmentor(vit())
    plain, wrapped = groups_of(model), groups_of(Wrapper(model))
    assert {k: v["lr"] for k, v in wrapped.items()} == {k: v["lr"] for k, v in plain.items()}


def test_accumulated_batches_raise_every_rate():
    model = Segmentor(vit())
    once, thrice = (wrapper_of(model, counts).optimizer.param_groups for counts in (1, 3))
    assert [g["lr"] for g in thrice] == pytest.approx([3 * g["lr"] for g in once])


def test_logged_rate_is_that_of_the_head():
    """mmengine logs the first group's."""
    assert wrapper_of(Segmentor(vit())).get_lr()["lr"][0] == LR


def test_frozen_parameters_are_left_out():
    model = Segmentor(vit(frozen_stages=1))
    names = set(groups_of(model))
    assert "backbone.layers.0.attn.qkv.weight" not in names
    assert "backbone.layers.1.attn.qkv.weight" in names


def test_weight_decay_is_left_out_where_the_configs_say_so():
    without = {"decay_mult": 0.0}
    groups = groups_of(
        Segmentor(vit()),
        flat_decay_mult=0.0,
        custom_keys={"cls_token": without, "pos_embed": without},
    )
    undecayed = {name for name, group in groups.items() if group["weight_decay"] == 0}
    assert {"backbone.cls_token", "backbone.pos_embed", "decode_head.bias"} <= undecayed
    for name, group in groups.items():
        assert (name in undecayed) == (
            group["params"][0].ndim == 1 or name.endswith(("cls_token", "pos_embed"))
        )
        assert name in undecayed or group["weight_decay"] == DECAY


def test_schedules_keep_the_layers_in_proportion():
    wrapper = wrapper_of(Segmentor(vit()))
    common = {"by_epoch": False}
    schedulers = [
        PARAM_SCHEDULERS.build(cfg | common, default_args={"optimizer": wrapper})
        for cfg in (
            {"type": "LinearLR", "start_factor": 1e-6, "begin": 0, "end": 3},
            {"type": "PolyLR", "power": 1.0, "eta_min": 0.0, "begin": 3, "end": 9},
        )
    ]
    seen = []
    wrapper.optimizer.zero_grad()
    for _ in range(8):
        rates = torch.tensor(wrapper.get_lr()["lr"])
        seen.append(rates.max().item() / LR)
        scales = torch.tensor([group["lr_scale"] for group in wrapper.optimizer.param_groups])
        torch.testing.assert_close(rates / rates.max(), scales)
        wrapper.step()
        for scheduler in schedulers:
            scheduler.step()
    assert seen[0] == pytest.approx(1e-6)
    assert max(seen) == pytest.approx(1)
    assert seen[-1] < seen[-2] < 1


@pytest.mark.parametrize("rate", [None, 0, -0.5, 1.5])
def test_missing_or_wrong_rate_is_refused(rate):
    with pytest.raises(ValueError, match=r"layer_decay_rate.*paramwise_cfg"):
        wrapper_of(Segmentor(vit()), layer_decay_rate=rate)


def test_backbone_without_depths_is_refused():
    frozen = {"type": "mmdino.FrozenBackbone", "backbone": vit()}
    with pytest.raises(ValueError, match="FrozenBackbone does not"):
        wrapper_of(Segmentor(frozen))


def test_rates_and_decay_of_the_shipped_fine_tuning_equal_the_reference(golden):
    """Each block has a table, of the layer of its block and decayed."""
    expected = golden("distillation", "layer_decay/")
    cfg = Config.fromfile(FINETUNING)
    arch = {**tiny_distillation.STUDENT_ARCH, "num_layers": int(expected["depth"])}
    cfg.model.backbone.update(arch=arch, img_size=12, patch_size=4, init_cfg=None)
    cfg.model.backbone.position_encoding.update(num_heads=2, grid=3)
    cfg.model.neck.in_channels = cfg.model.head.in_channels = 12
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(cfg.model)
    paramwise = {**cfg.optim_wrapper.paramwise_cfg, "layer_decay_rate": float(expected["decay"])}
    groups = groups_of(model, **paramwise)
    checked = set()
    for name, scale, decayed in zip(
        expected["names"],
        expected["scale"].tolist(),
        expected["weight_decayed"].tolist(),
        strict=True,
    ):
        ours = tiny_distillation.finetuned_name(name)
        ours = ours.replace("head.fc_norm", "neck.norm").replace("head.head", "head.fc")
        assert groups[ours]["lr"] == pytest.approx(LR * scale, rel=1e-9), name
        assert groups[ours]["weight_decay"] == (DECAY if decayed else 0), name
        checked.add(ours)
    assert checked == set(groups)

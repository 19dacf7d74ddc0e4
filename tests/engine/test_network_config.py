"""Networks of one set of tensors that compute different things."""

from __future__ import annotations

import pytest
import tiny_run

from mmdino.engine.network_config import config_changes, network_differences


def with_backbone(**options):
    model = tiny_run.vit_model()
    model["backbone"] |= options
    return model


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (
            {"arch": {**tiny_run.ARCH, "num_heads": 3}},
            "model.backbone.arch.num_heads is 3, 2 in the checkpoint",
        ),
        ({"pre_norm": True}, "model.backbone.pre_norm is True, False in the checkpoint"),
        (
            {"norm_cfg": {"type": "LN", "eps": 1e-5}},
            "model.backbone.norm_cfg.eps is 1e-05, 1e-06 in the checkpoint",
        ),
    ],
)
def test_another_network_is_told(options, difference):
    assert network_differences(tiny_run.vit_model(), with_backbone(**options)) == [difference]


@pytest.mark.parametrize(
    "options",
    [
        {"drop_path_rate": 0.5, "with_cp": True, "init_cfg": {"type": "Pretrained"}},
        {"img_size": 64},
        {"norm_cfg": {"type": "LN", "eps": 1e-6}, "pre_norm": False},
        {"type": "mmdino.NoSuchName"},
        {"out_type": "features"},
    ],
)
def test_the_same_network_otherwise_trained_or_written_is_no_other(options):
    assert network_differences(tiny_run.vit_model(), with_backbone(**options)) == []
    assert network_differences(with_backbone(**options), tiny_run.vit_model()) == []


def test_an_architecture_may_be_named_or_spelt_out():
    small = {"embed_dims": 384, "num_layers": 12, "num_heads": 6, "feedforward_channels": 384 * 4}
    named, spelt = with_backbone(arch="deit-small"), with_backbone(arch=small)
    assert network_differences(named, spelt) == []
    other = with_backbone(arch={**small, "num_heads": 12})
    assert network_differences(named, other) == [
        "model.backbone.arch.num_heads is 12, 6 in the checkpoint"
    ]


def test_lists_and_tuples_are_the_same():
    then, now = tiny_run.resnet_model(), tiny_run.resnet_model()
    then["backbone"]["out_indices"] = [3]
    assert network_differences(then, now) == []
    then["backbone"]["strides"] = (1, 2, 2, 1)
    assert network_differences(then, now) == [
        "model.backbone.strides is (1, 2, 2, 2), (1, 2, 2, 1) in the checkpoint"
    ]


def test_parts_that_only_one_has_are_left_to_the_tensors():
    assert network_differences(tiny_run.vit_model(), {"backbone": None}) == []


def test_what_changes_a_run_is_told_with_its_path():
    then = {"optim_wrapper": {"optimizer": {"lr": 0.1}}, "param_scheduler": [{"end": 1}]}
    now = {"optim_wrapper": {"optimizer": {"lr": 0.2}}, "param_scheduler": [{"end": 2}]}
    assert config_changes(then, now) == [
        "optim_wrapper.optimizer.lr is 0.2, was 0.1",
        "param_scheduler.0.end is 2, was 1",
    ]


def test_what_changes_only_the_speed_or_the_place_is_not_told():
    then = {"train_dataloader": {"num_workers": 1}, "default_hooks": {}, "work_dir": "a"}
    now = {
        "train_dataloader": {"num_workers": 2},
        "default_hooks": {"runtime_info": {"type": "mmdino.RuntimeInfoHook"}},
        "work_dir": "b",
    }
    assert config_changes(then, now) == []

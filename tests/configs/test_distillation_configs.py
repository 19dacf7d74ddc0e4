"""Every config of feature distillation trains, as a user would start it."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest
import tiny_pretraining
import torch
from mmengine.registry import MODELS, init_default_scope
from tiny_configs import read_config
from tiny_pretraining import dataset_changes, main, write_images

from mmdino.utils.options_action import OptionsAction
from mmdino.weights.networks import load_backbone

FOLDER = Path(__file__).parents[2] / "configs" / "distillation"
CONFIGS = sorted(FOLDER.glob("*.py"))
SIZE, PATCH = 32, 8
GRID = SIZE // PATCH
WIDTH, TEACHER_WIDTH = 12, 6
SWIN_SIZE = 64
SWIN = {
    "arch._delete_": True,
    "arch.embed_dims": 4,
    "arch.depths": [1, 1, 1, 1],
    "arch.num_heads": [1, 1, 1, 1],
    "img_size": SWIN_SIZE,
}
"""A Swin whose maps have 16, 8, 4 and 2 places on a side."""
RATES = {
    "distill_dino_vitb16_300ep": (1.2e-3, 2e-6, 2e-5, 0.3, 0.08),
    "distill_deit_vitb16_300ep": (1.2e-3, 2e-6, 2e-5, 0.3, 0.08),
    "distill_clip_vitb16_300ep": (1.2e-3, 2e-6, 2e-5, 0.2, 0.08),
    "distill_clip_vitb16_100ep": (1.2e-3, 2e-6, 2e-5, 0.1, 0.67),
    "distill_esvit_swinb_300ep": (8e-4, 4e-6, 4e-5, 0.3, 0.08),
}
"""The authors' rate, those of start and end, stochastic depth, and smallest part of an image."""


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve images in six classes."""
    return write_images(tmp_path_factory.mktemp("images"))


def teachers_of(cfg):
    """The configs of the teachers by their place."""
    if cfg.model.get("teachers"):
        return {f"model.teachers.{index}": one for index, one in enumerate(cfg.model.teachers)}
    return {"model.teacher": cfg.model.teacher}


def backbone_changes(place, backbone, width):
    """What makes a backbone small, by the names of the command line."""
    if "Swin" in backbone.type:
        changes = {**SWIN, "window_size": 2, "stage_cfgs.3.block_cfgs.window_size": 2}
        if backbone.type == "SwinTransformerV2":
            changes = {**SWIN, "window_size": [2] * 4, "arch.extra_norm_every_n_blocks": 0}
    else:
        found = tiny_pretraining.backbone_changes(backbone)
        del found["model.head.in_channels"]
        changes = {name.removeprefix("model.backbone."): value for name, value in found.items()}
    if "ViT" in backbone.type or "VisionTransformer" in backbone.type:
        changes |= {"arch.embed_dims": width, "img_size": SIZE, "patch_size": PATCH}
    if backbone.get("position_encoding"):
        changes |= {"position_encoding.num_heads": 2, "position_encoding.grid": GRID}
    return {f"{place}.backbone.{name}": value for name, value in changes.items()}


def arguments(path, images, work_dir):
    """The changes that make a config a run of seconds."""
    cfg = read_config(path)
    changes = {
        **backbone_changes("model", cfg.model.backbone, WIDTH),
        "experiment_name": f"distillation-{path.stem}",
        "log_level": "ERROR",
        "train_cfg.max_epochs": 1,
        "train_cfg.val_interval": 1,
        "train_cfg.val_at_start": False,
        "param_scheduler.0.warmup": 0,
        "train_dataloader.batch_size": 4,
        "train_dataloader.persistent_workers": False,
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.logger.interval": 1,
        "default_hooks.training_figure": None,
    }
    for index, (place, teacher) in enumerate(teachers_of(cfg).items()):
        # Narrower than the student.
        changes |= backbone_changes(place, teacher.backbone, TEACHER_WIDTH)
        changes[f"{place}.checkpoint"] = work_dir.with_name(f"teacher{index}.pth")
    size = SWIN_SIZE if "Swin" in cfg.model.backbone.type else SIZE
    pipeline = cfg.train_dataloader.dataset.pipeline
    (index,) = (i for i, step in enumerate(pipeline) if "views" in step)
    changes[f"train_dataloader.dataset.pipeline.{index}.views.0.size"] = size
    loaders = {
        "train_dataloader": cfg.train_dataloader,
        "val_dataloader": cfg.val_dataloader,
        "val_cfg.bank_dataloader": cfg.val_cfg.bank_dataloader,
    }
    for name, loader in loaders.items():
        changes |= {f"{name}.num_workers": 0, f"{name}.pin_memory": False}
        changes |= dataset_changes(name, loader, images)
        if "imagenet" in cfg.get("data_root", "") and name != "train_dataloader":
            changes[f"{name}.dataset.pipeline.1.scale"] = size
            changes[f"{name}.dataset.pipeline.2.crop_size"] = size
    return {name: str(v) if isinstance(v, Path) else v for name, v in changes.items()}


def write_teachers(cfg):
    """Writes the files of small teachers."""
    torch.manual_seed(1)
    init_default_scope("mmpretrain")
    for teacher in teachers_of(cfg).values():
        state = MODELS.build(teacher.backbone).state_dict()
        content = {"state_dict": state}
        if teacher.get("network") == "student":
            content = {"student": {f"backbone.{name}": t for name, t in state.items()}}
        torch.save(content, teacher.checkpoint)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_trains(path, images, tmp_path):
    changes = arguments(path, images, tmp_path / "run")
    cfg = read_config(path)
    cfg.merge_from_dict(changes)
    write_teachers(cfg)
    main([str(path), "--work-dir", str(tmp_path / "run"), "--cfg-options", *as_options(changes)])
    checkpoint = torch.load(tmp_path / "run" / "epoch_1.pth", weights_only=False)
    state = checkpoint["state_dict"]
    assert sum(name.endswith("sha256") for name in state) == len(teachers_of(cfg))
    (scalars,) = (tmp_path / "run").rglob("scalars.json")
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert any("knn/top1" in row for row in rows)
    losses = [row for row in rows if "loss" in row]
    prefixes = [f"teacher{i}_" for i in range(2)] if len(teachers_of(cfg)) > 1 else [""]
    parts = ["patch"] if "SwinTransformer" in cfg.model.backbone.type else ["class", "patch"]
    wanted = {
        f"{prefix}{part}_{what}"
        for prefix in prefixes
        for part in parts
        for what in ("error", "constant")
    }
    assert all(wanted <= row.keys() for row in losses)
    table = "backbone.position_encoding.table"
    if cfg.model.backbone.get("position_encoding"):
        assert state[table].shape == ((2 * GRID - 1) ** 2 + 3, 2)
        assert state[table].any()
        # What tools read: the student alone, with its table.
        backbone = load_backbone(tmp_path / "run" / "epoch_1.pth")
        assert torch.equal(backbone.position_encoding.table, state[table])
        kept = backbone.state_dict()
        assert not any(name.startswith(("projectors", "teachers")) for name in kept)


def as_options(changes):
    return [
        f"{key}={json.dumps(value) if isinstance(value, list | dict) else value}"
        for key, value in changes.items()
    ]


def test_the_demo_and_cifar_start_from_checkpoints_of_dino():
    for stem, name in {"distill_demo": "dino_demo", "distill_vitt4_cifar10": None}.items():
        cfg = read_config(FOLDER / f"{stem}.py")
        name = name or stem.replace("distill", "dino")
        source = read_config(FOLDER.parent / f"{name}.py")
        last = f"epoch_{source.train_cfg.max_epochs}.pth"
        assert cfg.model.teacher.checkpoint == f"work_dirs/{name}/{last}"
        for key in ("arch", "patch_size", "img_size"):
            assert cfg.model.teacher.backbone[key] == source.model.backbone[key]


@pytest.mark.parametrize("stem", RATES)
def test_the_paper_s_values_are_those_of_its_batch(stem):
    cfg = read_config(FOLDER / f"{stem}.py")
    batch = 8 * cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts
    assert batch == 2048
    rate = cfg.optim_wrapper.optimizer.lr * batch / cfg.auto_scale_lr.base_batch_size
    schedule = cfg.param_scheduler[0]
    (view,) = next(s.views for s in cfg.train_dataloader.dataset.pipeline if "views" in s)
    found = [rate, rate * schedule.start_ratio, rate * schedule.end_ratio]
    found += [cfg.model.backbone.drop_path_rate, view.scale[0]]
    assert found == pytest.approx(RATES[stem], rel=1e-12)
    assert schedule.warmup == 10
    assert stem.endswith(f"_{cfg.train_cfg.max_epochs}ep")
    assert cfg.optim_wrapper.clip_grad == {"max_norm": 3.0}


def variants():
    """The options of the variants in the README, by their names there."""
    text = (FOLDER / "README.md").read_text()
    section = text.split("## Variants on CIFAR-10")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| `(.+?)` \|$", section, flags=re.M)
    return {name.strip(): shlex.split(options) for name, options in rows}


def test_each_variant_of_the_readme_is_what_it_says():
    init_default_scope("mmpretrain")
    table, models, rates = "position_encoding.table", {}, {}
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=OptionsAction)
    for name, options in variants().items():
        cfg = read_config(FOLDER / "distill_vitt4_cifar10.py")
        cfg.merge_from_dict(parser.parse_args(["--cfg-options", *options]).cfg_options)
        models[name], rates[name] = MODELS.build(cfg.model), cfg.model.backbone.drop_path_rate
    whitening = {"targets as they are": None, "targets of length 1": "l2"}
    assert len(models) == 5
    for name, model in models.items():
        names = {parameter for parameter, _ in model.backbone.named_parameters()}
        per_block, absolute = name == "a table in each block", name == "absolute positions"
        assert (table in names) is not (per_block or absolute)
        assert (f"layers.0.{table}" in names) is per_block
        assert ("pos_embed" in names) is absolute
        assert model.teachers[0].whiten == whitening.get(name, "layer_norm")
        assert (rates[name] == 0) is (name == "no stochastic depth")

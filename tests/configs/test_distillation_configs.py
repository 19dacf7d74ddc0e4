"""Every config of feature distillation trains, as a user would start it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from tiny_pretraining import backbone_changes, dataset_changes, main, write_images

from mmdino.weights.networks import load_backbone

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "distillation").glob("*.py"))
SIZE, PATCH = 32, 8
GRID = SIZE // PATCH


@pytest.fixture(autouse=True)
def _plain_text(monkeypatch):
    """Keeps mmengine from formatting the config six times a run, most of its time."""
    monkeypatch.setattr(Config, "pretty_text", property(Config.text.fget))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve images in six classes."""
    return write_images(tmp_path_factory.mktemp("images"))


def arguments(path, images, work_dir):
    """The command line that makes a config a run of seconds."""
    cfg = Config.fromfile(path)
    sizes = {"img_size": SIZE, "patch_size": PATCH}
    student = backbone_changes(cfg.model.backbone)
    del student["model.head.in_channels"]
    teacher = {
        f"model.teacher.{name.removeprefix('model.')}": value for name, value in student.items()
    }
    # Half as wide as the student.
    teacher["model.teacher.backbone.arch.embed_dims"] = 6
    for backbone in ("model.backbone", "model.teacher.backbone"):
        student |= {f"{backbone}.{name}": size for name, size in sizes.items()}
    changes = {
        **student,
        **teacher,
        "model.backbone.position_encoding.num_heads": 2,
        "model.backbone.position_encoding.grid": GRID,
        "model.teacher.checkpoint": work_dir.with_name("teacher.pth"),
        "experiment_name": f"distillation-{path.stem}",
        "log_level": "ERROR",
        "train_cfg.max_epochs": 2,
        "train_cfg.val_interval": 2,
        "param_scheduler.0.warmup": 1,
        "train_dataloader.batch_size": 4,
        "train_dataloader.persistent_workers": False,
        "default_hooks.checkpoint.interval": 1,
        "default_hooks.logger.interval": 1,
        "default_hooks.training_figure": None,
    }
    pipeline = cfg.train_dataloader.dataset.pipeline
    (index,) = (i for i, step in enumerate(pipeline) if "views" in step)
    changes[f"train_dataloader.dataset.pipeline.{index}.views.0.size"] = SIZE
    loaders = {
        "train_dataloader": cfg.train_dataloader,
        "val_dataloader": cfg.val_dataloader,
        "val_cfg.bank_dataloader": cfg.val_cfg.bank_dataloader,
    }
    for name, loader in loaders.items():
        changes |= {f"{name}.num_workers": 0, f"{name}.pin_memory": False}
        changes |= dataset_changes(name, loader, images)
        if "imagenet" in cfg.get("data_root", "") and name != "train_dataloader":
            changes[f"{name}.dataset.pipeline.1.scale"] = SIZE
            changes[f"{name}.dataset.pipeline.2.crop_size"] = SIZE
    options = [f"{key}={value}" for key, value in changes.items()]
    return [str(path), "--work-dir", str(work_dir), "--cfg-options", *options], changes


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_trains(path, images, tmp_path):
    command, changes = arguments(path, images, tmp_path / "run")
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({name: str(v) if isinstance(v, Path) else v for name, v in changes.items()})
    torch.manual_seed(1)
    teacher = MODELS.build(cfg.model.teacher.backbone)
    torch.save({"state_dict": teacher.state_dict()}, tmp_path / "teacher.pth")
    main(command)
    checkpoint = torch.load(tmp_path / "run" / "epoch_2.pth", weights_only=False)
    table = checkpoint["state_dict"]["backbone.position_encoding.table"]
    assert table.shape == ((2 * GRID - 1) ** 2 + 3, 2)
    assert table.any()
    (scalars,) = (tmp_path / "run").rglob("scalars.json")
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert any("knn/top1" in row for row in rows)
    losses = [row for row in rows if "loss" in row]
    assert all(
        {"class_error", "class_constant", "patch_error", "patch_constant"} <= row.keys()
        for row in losses
    )
    # What tools read: the student alone, with its table.
    backbone = load_backbone(tmp_path / "run" / "epoch_2.pth")
    assert torch.equal(backbone.position_encoding.table, table)
    assert not any(name.startswith(("projectors", "teachers")) for name in backbone.state_dict())


def test_the_demo_starts_from_the_demo_s_checkpoint():
    demo, root = Config.fromfile(CONFIGS[0].with_stem("distill_demo")), CONFIGS[0].parents[1]
    source = Config.fromfile(root / "dino_demo.py")
    name = f"epoch_{source.train_cfg.max_epochs}.pth"
    assert demo.model.teacher.checkpoint == f"work_dirs/dino_demo/{name}"
    for key in ("arch", "patch_size", "img_size"):
        assert demo.model.teacher.backbone[key] == source.model.backbone[key]


def test_the_paper_s_rates_are_those_of_its_batch():
    cfg = Config.fromfile(CONFIGS[0].with_stem("distill_dino_vitb16_300ep"))
    batch = 8 * cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts
    assert batch == 2048
    rate = cfg.optim_wrapper.optimizer.lr * batch / cfg.auto_scale_lr.base_batch_size
    schedule = cfg.param_scheduler[0]
    found = [rate, rate * schedule.start_ratio, rate * schedule.end_ratio]
    assert found == pytest.approx([1.2e-3, 2e-6, 2e-5], rel=1e-12)
    assert (schedule.warmup, cfg.train_cfg.max_epochs) == (10, 300)
    assert cfg.optim_wrapper.clip_grad == {"max_norm": 3.0}

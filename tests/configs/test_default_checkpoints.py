"""Evaluations start from what the pretraining of that name leaves, or from the authors' file."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).parents[2] / "configs"
ALL = sorted(
    path for name in ("linear", "finetune", "ade20k", "camvid") for path in (ROOT / name).glob("*")
)
RELEASED = [path for path in ALL if path.stem.startswith(("dinov2", "dinov3"))]
DISTILLED = [path for path in ALL if path.stem.startswith("distill_")]
TEACHERS = [path for path in DISTILLED if "_teacher" in path.stem]
EVALUATIONS = [path for path in ALL if path not in RELEASED + DISTILLED]
STUDENT = ("arch", "patch_size", "key_bias", "learned_positions", "layer_scale_init_value")


@pytest.mark.parametrize("path", EVALUATIONS, ids=lambda path: f"{path.parent.stem}-{path.stem}")
def test_a_checkpoint_of_the_pretraining_config_is_the_default(path):
    cfg = Config.fromfile(path)
    backbone = cfg.model.backbone.get("backbone", cfg.model.backbone)
    place = Path(backbone.init_cfg.checkpoint)
    assert cfg.checkpoint == str(place), "the knob is the checkpoint"
    folder, name = place.parts[1:]
    pretraining = Config.fromfile(ROOT / f"{folder}.py")
    assert path.stem.startswith(folder.removeprefix("dino_").removesuffix("_cifar10"))
    assert name == f"epoch_{pretraining.train_cfg.max_epochs}.pth"
    assert backbone.type == pretraining.model.backbone.type
    for key in {"arch", "patch_size", "depth"} & set(pretraining.model.backbone):
        assert backbone[key] == pretraining.model.backbone[key]


def vit_of(cfg):
    return cfg.model.backbone.get("backbone", cfg.model.backbone)


@pytest.mark.parametrize("path", DISTILLED, ids=lambda path: f"{path.parent.stem}-{path.stem}")
def test_students_and_teachers_of_distillation_are_the_networks_that_were_trained(path):
    cfg = Config.fromfile(path)
    backbone = vit_of(cfg)
    assert cfg.checkpoint == backbone.init_cfg.checkpoint
    folder, name = Path(cfg.checkpoint).parts[1:]
    (pretraining,) = (
        ROOT / place / f"{folder}.py"
        for place in ("", "distillation")
        if (ROOT / place / f"{folder}.py").is_file()
    )
    trained = Config.fromfile(pretraining)
    assert name == f"epoch_{trained.train_cfg.max_epochs}.pth"
    for key in STUDENT:
        default = {"key_bias": True, "learned_positions": True}.get(key)
        assert backbone.get(key, default) == trained.model.backbone.get(key, default), key
    encoding = trained.model.backbone.get("position_encoding", {})
    assert backbone.get("position_encoding", {}).get("num_heads") == encoding.get("num_heads")


@pytest.mark.parametrize("path", TEACHERS, ids=lambda path: path.stem)
def test_a_teacher_is_fine_tuned_with_the_recipe_of_its_student(path):
    student = Config.fromfile(path.with_name(path.name.replace("_teacher", "")))
    teacher = Config.fromfile(path)
    parts = ("neck", "head", "train_cfg")
    assert all(student.model.get(part) == teacher.model.get(part) for part in parts)
    for key in ("optim_wrapper", "param_scheduler", "train_dataloader", "train_cfg"):
        assert student[key] == teacher[key], key
    assert vit_of(student).drop_path_rate == vit_of(teacher).drop_path_rate
    assert vit_of(student).final_norm == vit_of(teacher).final_norm


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: f"{path.parent.stem}-{path.stem}")
def test_the_authors_file_of_that_network_is_the_default(path):
    cfg = Config.fromfile(path)
    network, _, size = cfg.checkpoint.partition("_pretrain")[0].partition("_vits")
    assert path.stem.startswith(f"{network}_vits{size}_")
    assert cfg.model.backbone.backbone.init_cfg.checkpoint == cfg.checkpoint
    assert cfg.model.backbone.backbone.patch_size == int(size)

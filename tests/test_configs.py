"""Every shipped config loads, can be built, and says what its source says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import (
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    RUNNERS,
    STRATEGIES,
    TRANSFORMS,
)
from mmengine.runner import Runner
from torch import nn

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))
BASE = {*(Path(__file__).parents[1] / "configs" / "_base_").rglob("*.py")}
METHODS = ("barlowtwins", "byol", "mocov3", "simclr", "simsiam", "swav")
FAMILY = sorted(path for name in METHODS for path in (CONFIGS[0].parent / name).glob("*.py"))
TESTED_FOLDERS = {
    *("configs", "ablations", "dinov2", "dinov3", "distillation"),
    *("linear", "finetune", "ade20k", "camvid"),
    *METHODS,
}


def views(global_scale, num_local, local_scale, sizes=(224, 96)):
    """Number, side and crop scale of each group of views."""
    groups = (
        (1, sizes[0], global_scale),
        (1, sizes[0], global_scale),
        (num_local, sizes[1], local_scale),
    )
    return groups if num_local else groups[:2]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a source says of a run. Fields left out are the defaults of the authors' main_dino.py.

    ``peak_lr`` is the authors' ``lr`` times batch / 256. ``temp`` is the teacher's first and last
    temperature and the epochs between them.
    """

    source: str = field(compare=False)
    arch: str | tuple[int, int, int] = "deit-small"
    patch: int | None = 16
    prototypes: int = 65536
    free_length: bool = False
    epochs: int = 100
    gpus: int = field(default=8, compare=False)
    batch: int = 512
    optimizer: str = "AdamW"
    peak_lr: float = 0.001
    warmup: int = 10
    min_lr: float = 1e-6
    decay: tuple[float, float] = (0.04, 0.4)
    clip: float | None = 3.0
    freeze: int = 1
    temp: tuple[float, float, int] = (0.04, 0.04, 0)
    momentum: float = 0.996
    views: tuple = views((0.4, 1.0), 8, (0.05, 0.4))


ARGS = "second-hand: a copy of the authors' args.txt of this model in another repository"
RECIPES = {
    "dino_vits16_100ep": Recipe(source="authors' README, vanilla training"),
    "dino_vits16_300ep": Recipe(
        source="authors' README, boosted performance, on 16 GPUs",
        free_length=True,
        epochs=300,
        batch=1024,
        peak_lr=0.002,
        temp=(0.04, 0.07, 30),
    ),
    "dino_vits16": Recipe(
        source=ARGS,
        free_length=True,
        epochs=800,
        batch=1024,
        peak_lr=0.002,
        min_lr=1e-5,
        clip=None,
        temp=(0.04, 0.07, 30),
        views=views((0.25, 1.0), 10, (0.05, 0.25)),
    ),
    "dino_vits8": Recipe(
        source=f"{ARGS}; the batch is the paper's (section 3.2)",
        patch=8,
        free_length=True,
        epochs=800,
        batch=1024,
        peak_lr=0.002,
        temp=(0.04, 0.07, 30),
        views=views((0.4, 1.0), 10, (0.05, 0.4)),
    ),
    "dino_vitb16": Recipe(
        source=ARGS,
        arch="deit-base",
        epochs=400,
        batch=1024,
        peak_lr=0.003,
        min_lr=2e-6,
        clip=0.3,
        freeze=3,
        temp=(0.04, 0.07, 50),
        views=views((0.25, 1.0), 10, (0.05, 0.25)),
    ),
    "dino_vitb8": Recipe(
        source=ARGS,
        arch="deit-base",
        patch=8,
        epochs=300,
        batch=1056,
        peak_lr=0.0020625,
        min_lr=2e-6,
        freeze=3,
        temp=(0.03, 0.07, 50),
        views=views((0.25, 1.0), 10, (0.05, 0.25)),
    ),
    "dino_vitl16_fsdp": Recipe(
        source="none published: that of dino_vitb16",
        arch="large",
        epochs=400,
        batch=1024,
        peak_lr=0.003,
        min_lr=2e-6,
        clip=0.3,
        freeze=3,
        temp=(0.04, 0.07, 50),
        views=views((0.25, 1.0), 10, (0.05, 0.25)),
    ),
    "dino_resnet50": Recipe(
        source="authors' README, command for ResNet-50",
        arch="resnet50",
        patch=None,
        optimizer="SGD",
        peak_lr=0.06,
        decay=(1e-4, 1e-4),
        views=views((0.14, 1.0), 8, (0.05, 0.14)),
    ),
    "dino_resnet50_800ep": Recipe(
        source=f"{ARGS}; batch and GPUs also in dino issue 133",
        arch="resnet50",
        patch=None,
        prototypes=60000,
        epochs=800,
        batch=4080,
        optimizer="LARS",
        peak_lr=4.78125,
        min_lr=0.0048,
        decay=(1e-6, 1e-6),
        clip=None,
        temp=(0.04, 0.07, 50),
        views=views((0.14, 1.0), 6, (0.05, 0.14)),
    ),
    "dino_folder": Recipe(
        source="our own: the column for 10,000 images of its header",
        prototypes=4096,
        epochs=400,
        gpus=1,
        batch=64,
        peak_lr=0.000125,
        momentum=0.9995,
    ),
    "dino_vitt4_cifar10": Recipe(
        source="our own: docs/results.md",
        arch=(128, 4, 4),
        patch=4,
        prototypes=1024,
        epochs=200,
        gpus=1,
        batch=64,
        peak_lr=0.0005,
        warmup=1,
        decay=(0.04, 0.1),
        momentum=0.99,
        views=views((0.4, 1.0), 4, (0.1, 0.4), sizes=(24, 12)),
    ),
    "dino_resnet18_cifar10": Recipe(
        source="our own; optimiser, epochs and network are those of lightly's benchmark",
        arch="resnet18",
        patch=None,
        prototypes=1024,
        epochs=200,
        gpus=1,
        batch=64,
        optimizer="SGD",
        peak_lr=0.03,
        warmup=1,
        decay=(5e-4, 5e-4),
        clip=None,
        momentum=0.99,
        views=views((0.4, 1.0), 4, (0.1, 0.4), sizes=(24, 12)),
    ),
    "dino_vitt4_cifar10_cpu": Recipe(
        source="our own: docs/small_data.md",
        arch=(128, 4, 4),
        patch=4,
        prototypes=1024,
        epochs=9,
        gpus=1,
        batch=64,
        peak_lr=0.001,
        warmup=150,
        decay=(0.04, 0.1),
        freeze=0,
        temp=(0.02, 0.02, 0),
        momentum=0.99,
        views=views((0.4, 1.0), 0, (), sizes=(24, 12)),
    ),
    "dino_resnet18_cifar10_cpu": Recipe(
        source="our own: docs/small_data.md",
        arch="resnet18",
        patch=None,
        prototypes=1024,
        epochs=13,
        gpus=1,
        batch=64,
        optimizer="SGD",
        peak_lr=0.06,
        warmup=150,
        decay=(5e-4, 5e-4),
        clip=None,
        freeze=0,
        temp=(0.02, 0.02, 0),
        momentum=0.99,
        views=views((0.4, 1.0), 0, (), sizes=(24, 12)),
    ),
    "dino_demo": Recipe(
        source="our own: docs/results.md",
        arch=(64, 3, 2),
        patch=8,
        prototypes=256,
        epochs=12,
        gpus=1,
        batch=32,
        peak_lr=0.002,
        warmup=1,
        decay=(0.04, 0.1),
        freeze=0,
        temp=(0.03, 0.03, 0),
        momentum=0.95,
        views=views((0.5, 1.0), 2, (0.25, 0.6), sizes=(48, 32)),
    ),
}


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def cfg(request):
    return Config.fromfile(request.param)


def test_model_builds(cfg):
    # Shapes without storage; mmpretrain's ResNet cannot do without.
    with torch.device("cpu" if "ResNet" in cfg.model.backbone.type else "meta"):
        model = MODELS.build(cfg.model)
    assert model.dino_loss.num_prototypes == model.head.out_channels


def test_everything_named_is_registered(cfg):
    for hook in cfg.default_hooks.values():
        HOOKS.build(dict(hook))
    for step in cfg.train_dataloader.dataset.pipeline:
        assert TRANSFORMS.build(dict(step)) is not None
    assert LOOPS.get(cfg.train_cfg.type) is not None
    if cfg.get("val_evaluator"):
        assert METRICS.build(dict(cfg.val_evaluator)) is not None


def test_every_config_has_a_source_and_every_folder_a_test():
    assert {path.stem for path in CONFIGS} == RECIPES.keys()
    folders = {path.parent.name for path in CONFIGS[0].parent.rglob("*.py") if path not in BASE}
    assert folders == TESTED_FOLDERS


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_that_of_its_source(name):
    expected = RECIPES[name]
    cfg = Config.fromfile(CONFIGS[0].with_stem(name))
    found = recipe_of(cfg, expected.gpus)
    assert found.peak_lr == pytest.approx(expected.peak_lr, rel=1e-12)
    assert replace(found, peak_lr=expected.peak_lr) == expected


def test_configs_for_gpus_train_in_mixed_precision():
    other = {
        "dino_demo": "float32",
        "dino_resnet18_cifar10": "float32",
        "dino_vitt4_cifar10": "float32",
        "dino_vitl16_fsdp": "bfloat16",  # float16 does not work with shards
    }
    for path in CONFIGS:
        precision = Config.fromfile(path).optim_wrapper.get("precision", "float32")
        assert precision == other.get(path.stem, "auto"), path.stem


def recipe_of(cfg, gpus):
    """What a config says, with the batch and the peak learning rate of a run on so many GPUs."""
    loader, wrapper = cfg.train_dataloader, scaled_wrapper(cfg, gpus)
    backbone, schedules = cfg.model.backbone, {s.type: s for s in cfg.param_scheduler}
    lr = schedules["mmdino.WarmupCosineLR"]
    decay = wrapper.optimizer.param_groups[0]["weight_decay"]
    hooks, temp = cfg.default_hooks, cfg.model.loss.teacher_temp
    warmup = hooks.teacher_temp_warmup
    return Recipe(
        source="",
        arch=arch_of(backbone),
        patch=backbone.get("patch_size"),
        prototypes=cfg.model.head.out_channels,
        free_length=not cfg.model.head.norm_last_layer,
        epochs=cfg.train_cfg.max_epochs,
        batch=gpus * loader.batch_size * cfg.optim_wrapper.get("accumulative_counts", 1),
        optimizer=type(wrapper.optimizer).__name__,
        peak_lr=wrapper.optimizer.param_groups[0]["lr"],
        warmup=lr.warmup,
        min_lr=lr.end_lr,
        decay=(decay, schedules.get("mmdino.CosineWeightDecay", {}).get("end_value", decay)),
        clip=wrapper.per_tensor_norm,
        freeze=hooks.last_layer_freeze.epochs,
        temp=(warmup.start if warmup.epochs else temp, temp, warmup.epochs),
        momentum=hooks.ema_teacher.momentum,
        views=views_of(loader.dataset.pipeline),
    )


def scaled_wrapper(cfg, gpus):
    """The optimiser wrapper of a config, with the learning rate of a run on so many GPUs."""
    model = nn.ModuleDict({"network": nn.Linear(2, 2), "predictor": nn.Linear(2, 2)})
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    run = SimpleNamespace(
        world_size=gpus,
        logger=Mock(),
        param_schedulers=None,
        _train_dataloader=cfg.train_dataloader,
    )
    Runner.scale_lr(run, wrapper, cfg.auto_scale_lr)
    return wrapper


def arch_of(backbone):
    if "ResNet" in backbone.type:
        return f"resnet{backbone.depth}"
    arch = backbone.arch
    return arch if isinstance(arch, str) else (arch.embed_dims, arch.num_layers, arch.num_heads)


def views_of(pipeline):
    (crops,) = [step for step in pipeline if step["type"] == "mmdino.MultiCropTransform"]
    return tuple((g.num, g.size[0], g.scale) for g in TRANSFORMS.build(dict(crops)).groups)


def test_sharded_config_is_a_vit_l_and_names_its_runner():
    cfg = Config.fromfile(next(path for path in CONFIGS if path.stem == "dino_vitl16_fsdp"))
    with torch.device("meta"):
        backbone = MODELS.build(cfg.model.backbone)
    assert sum(p.numel() for p in backbone.parameters()) == 303_301_632
    assert RUNNERS.get(cfg.runner_type).__name__ == "FlexibleRunner"
    assert STRATEGIES.get(cfg.strategy.type) is not None


@dataclass(frozen=True, kw_only=True)
class MethodRecipe:
    """What a source says of a run of a method beside DINO on ImageNet.

    ``head`` and ``predictor`` are their layers, hidden and output channels; ``end`` is the last
    learning rate over the peak, ``momentum`` the teacher's, ``views`` as in :class:`Recipe`.
    """

    source: str = field(compare=False)
    arch: str = "resnet50"
    head: tuple[int, int, int]
    predictor: tuple[int, int, int] | None = None
    loss: dict
    separate: bool = True
    epochs: int
    batch: int
    optimizer: str = "LARS"
    peak_lr: float
    warmup: int = 10
    end: float = 0.0
    decay: float
    momentum: float | None = None
    precision: str = "auto"
    views: tuple
    interpolation: str = "bicubic"


TWO = ((1, 224, (0.08, 1.0)), (1, 224, (0.08, 1.0)))
SWAV_CROPS = ((2, 224, (0.14, 1.0)), (6, 96, (0.05, 0.14)))
SWAV = {"in_channels": 128, "num_prototypes": 3000, "temperature": 0.1, "epsilon": 0.05}
SWAV |= {"sinkhorn_iterations": 3}
METHOD_RECIPES = {
    "byol_resnet50": MethodRecipe(
        source="byol/configs/byol.py of the authors, 1000 epochs; byol/utils/augmentations.py and "
        "networks.py",
        head=(2, 4096, 256),
        predictor=(2, 4096, 256),
        loss={},
        epochs=1000,
        batch=4096,
        peak_lr=3.2,
        decay=1.5e-6,
        momentum=0.996,
        precision="float32",
        views=TWO,
    ),
    "byol_vits16": MethodRecipe(
        source="none published with all its numbers: DINO's optimisation, BYOL's network",
        arch="deit-small",
        head=(2, 4096, 256),
        predictor=(2, 4096, 256),
        loss={},
        epochs=300,
        batch=1024,
        optimizer="AdamW",
        peak_lr=0.002,
        end=1e-6 / 0.002,
        decay=0.04,
        momentum=0.99,
        views=TWO,
    ),
    "simclr_resnet50": MethodRecipe(
        source="README of the authors, ImageNet command; run.py and model_util.py",
        head=(2, 2048, 128),
        loss={"temperature": 0.1},
        separate=False,
        epochs=100,
        batch=4096,
        peak_lr=4.8,
        decay=1e-6,
        precision="float32",
        views=((2, 224, (0.08, 1.0)),),
    ),
    "simsiam_resnet50": MethodRecipe(
        source="main_simsiam.py and simsiam/builder.py of the authors",
        head=(3, 2048, 2048),
        predictor=(2, 512, 2048),
        loss={},
        epochs=100,
        batch=512,
        optimizer="SGD",
        peak_lr=0.1,
        warmup=0,
        decay=1e-4,
        precision="float32",
        views=((2, 224, (0.2, 1.0)),),
        interpolation="bilinear",
    ),
    "barlowtwins_resnet50": MethodRecipe(
        source="main.py of the authors",
        head=(3, 8192, 8192),
        loss={"lambd": 0.0051},
        epochs=1000,
        batch=2048,
        peak_lr=1.6,
        end=0.001,
        decay=1e-6,
        views=TWO,
    ),
    "mocov3_resnet50": MethodRecipe(
        source="CONFIG.md of the authors, ResNet-50 of 1000 epochs; main_moco.py; moco/builder.py",
        head=(2, 4096, 256),
        predictor=(2, 4096, 256),
        loss={"temperature": 1.0},
        epochs=1000,
        batch=4096,
        peak_lr=4.8,
        decay=1.5e-6,
        momentum=0.996,
        views=((1, 224, (0.2, 1.0)), (1, 224, (0.2, 1.0))),
        interpolation="bilinear",
    ),
    "mocov3_vits16": MethodRecipe(
        source="CONFIG.md of the authors, ViT-Small; main_moco.py; moco/builder.py",
        arch="mocov3-small",
        head=(3, 4096, 256),
        predictor=(2, 4096, 256),
        loss={"temperature": 0.2},
        epochs=300,
        batch=4096,
        optimizer="AdamW",
        peak_lr=0.0024,
        warmup=40,
        decay=0.1,
        momentum=0.99,
        views=TWO,
        interpolation="bilinear",
    ),
    "swav_resnet50": MethodRecipe(
        source="scripts/swav_800ep_pretrain.sh of the authors",
        head=(2, 2048, 128),
        loss=SWAV,
        separate=False,
        epochs=800,
        batch=4096,
        peak_lr=4.8,
        end=0.001,
        decay=1e-6,
        views=SWAV_CROPS,
        interpolation="bilinear",
    ),
    "swav_resnet50_2crops": MethodRecipe(
        source="scripts/swav_400ep_2x224_pretrain.sh of the authors",
        head=(2, 2048, 128),
        loss=SWAV,
        separate=False,
        epochs=400,
        batch=4096,
        peak_lr=4.8,
        end=0.001,
        decay=1e-6,
        views=((2, 224, (0.08, 1.0)),),
        interpolation="bilinear",
    ),
    "swav_resnet50_bs256": MethodRecipe(
        source="README of the authors, command for 8 GPUs",
        head=(2, 2048, 128),
        loss={**SWAV, "queue_length": 3840},
        separate=False,
        epochs=400,
        batch=256,
        peak_lr=0.6,
        warmup=0,
        end=0.001,
        decay=1e-6,
        views=SWAV_CROPS,
        interpolation="bilinear",
    ),
    "swav_vits16": MethodRecipe(
        source="none published with all its numbers: DINO's optimisation, SwAV's network",
        arch="deit-small",
        head=(2, 2048, 128),
        loss=SWAV,
        separate=False,
        epochs=300,
        batch=1024,
        optimizer="AdamW",
        peak_lr=0.002,
        end=1e-6 / 0.002,
        decay=0.04,
        views=SWAV_CROPS,
        interpolation="bilinear",
    ),
}
OWN = ("_cifar10", "_demo", "_multicrop")
"""Ends of names of configs that no source describes."""


def test_every_recipe_of_a_method_has_a_source():
    published = {path.stem for path in FAMILY if not path.stem.endswith(OWN)}
    assert published == METHOD_RECIPES.keys()


@pytest.mark.parametrize("name", METHOD_RECIPES)
def test_recipe_of_a_method_is_that_of_its_source(name):
    expected = METHOD_RECIPES[name]
    (path,) = [path for path in FAMILY if path.stem == name]
    found = method_recipe_of(Config.fromfile(path))
    assert found.peak_lr == pytest.approx(expected.peak_lr, rel=1e-12)
    assert found.end == pytest.approx(expected.end, rel=1e-12)
    assert replace(found, peak_lr=expected.peak_lr, end=expected.end) == expected


def method_recipe_of(cfg, gpus=8):
    """What a config says, with the batch and the peak learning rate of a run on 8 GPUs."""
    model, (lr, *_) = cfg.model, cfg.param_scheduler
    wrapper = scaled_wrapper(cfg, gpus)
    counts = cfg.optim_wrapper.get("accumulative_counts", 1)
    peak = wrapper.optimizer.param_groups[0]["lr"]
    ema = cfg.default_hooks.get("ema_teacher")
    loss = {key: value for key, value in model.loss.items() if key != "type"}
    return MethodRecipe(
        source="",
        arch=arch_of(model.backbone),
        head=layers_of(model.head),
        predictor=layers_of(model.predictor) if "predictor" in model else None,
        loss=loss,
        separate=model.get("separate_views", False),
        epochs=cfg.train_cfg.max_epochs,
        batch=gpus * cfg.train_dataloader.batch_size * counts,
        optimizer=type(wrapper.optimizer).__name__,
        peak_lr=peak,
        warmup=lr.warmup,
        end=lr.end_lr / peak if lr.end_lr is not None else lr.end_ratio,
        decay=wrapper.optimizer.param_groups[0]["weight_decay"],
        momentum=ema and ema.momentum,
        precision=cfg.optim_wrapper.get("precision", "float32"),
        views=views_of(cfg.train_dataloader.dataset.pipeline),
        interpolation=interpolation_of(cfg.train_dataloader.dataset.pipeline),
    )


def interpolation_of(pipeline):
    (crops,) = [step for step in pipeline if step["type"] == "mmdino.MultiCropTransform"]
    (name,) = {group.interpolation for group in TRANSFORMS.build(dict(crops)).groups}
    return name


@pytest.mark.parametrize("path", FAMILY, ids=lambda path: path.stem)
def test_parts_of_a_method_fit(path):
    model = Config.fromfile(path).model
    widths = {"resnet18": 512, "resnet50": 2048, "deit-small": 384, "mocov3-small": 384}
    arch = arch_of(model.backbone)
    assert model.head.in_channels == (widths[arch] if isinstance(arch, str) else arch[0])
    if "predictor" in model:
        assert model.predictor.in_channels == model.predictor.out_channels
        assert model.predictor.in_channels == model.head.out_channels
    assert model.loss.get("in_channels", model.head.out_channels) == model.head.out_channels
    assert (model.neck is None) is ("ResNet" not in model.backbone.type)


def layers_of(neck):
    return neck.get("num_layers", 2), neck.hid_channels, neck.out_channels


def test_byol_has_the_last_layers_and_residual_blocks_of_its_authors():
    (path,) = [path for path in FAMILY if path.stem == "byol_resnet50"]
    model = Config.fromfile(path).model
    assert model.backbone.zero_init_residual
    assert not any(mlp.with_last_bias for mlp in (model.head, model.predictor))


def test_swav_freezes_its_prototypes_for_an_epoch():
    steps = {"swav_resnet50": 313, "swav_resnet50_bs256": 5005, "swav_vits16": 1251}
    for path in FAMILY:
        if path.stem in steps:
            cfg = Config.fromfile(path)
            batch = 8 * cfg.train_dataloader.batch_size
            assert cfg.default_hooks.last_layer_freeze.steps == steps[path.stem]
            # 1,281,167 images; the authors' samplers fill up the last batch of all ranks.
            assert abs(1_281_167 / batch - steps[path.stem]) < 1


@pytest.mark.parametrize(
    "path",
    [path for path in FAMILY if path.stem.endswith("_multicrop")],
    ids=lambda path: path.stem,
)
def test_local_views_change_nothing_else(path):
    num_views = []
    configs = [Config.fromfile(path), Config.fromfile(path.with_stem(path.stem[:-10]))]
    for cfg in configs:
        dataset = cfg.train_dataloader.dataset
        num_views.append(sum(num for num, *_ in views_of(dataset.pop("pipeline"))))
    assert num_views == [8, 2]
    assert configs[0].to_dict() == configs[1].to_dict()


@pytest.mark.parametrize("setting", ["resnet18_cifar10", "vitt4_cifar10", "demo"])
def test_methods_are_compared_on_equal_terms(setting):
    paths = [path for path in (*CONFIGS, *FAMILY) if path.stem.endswith(f"_{setting}")]
    assert len(paths) == 1 + len(METHODS)
    terms = [terms_of(Config.fromfile(path)) for path in paths]
    assert all(each == terms[0] for each in terms)


def test_cifar10_has_the_same_views_for_both_networks():
    resnet, vit = (
        terms_of(Config.fromfile(CONFIGS[0].with_stem(f"dino_{network}_cifar10")))
        for network in ("resnet18", "vitt4")
    )
    for each in (resnet, vit):
        del each["backbone"]
    assert resnet == vit


def terms_of(cfg):
    """What must be the same for methods that are compared: network, images, views, length."""
    keys = ("train_dataloader", "val_dataloader", "val_cfg", "val_evaluator", "train_cfg")
    return {
        "backbone": cfg.model.backbone.to_dict(),
        "warmup": cfg.param_scheduler[0].warmup,
        **{key: cfg[key].to_dict() for key in keys},
    }

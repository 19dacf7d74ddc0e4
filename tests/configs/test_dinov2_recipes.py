"""The recipes of DINOv2 have the numbers of the authors: schedules, start values, sizes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tiny_run
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner

from mmdino.datasets.masked_collate import collate_with_block_masks
from mmdino.engine.loops import ResumableTrainLoop
from mmdino.models.layers import interpolate_pos_embed

CONFIGS = Path(__file__).parents[2] / "configs" / "dinov2"
IMAGENET, BATCH = 1_281_167, 2048
EPOCH = 1250
"""Iterations of an epoch of the authors."""
STEPS = (0, 1, 1249, 1250, 12_499, 12_500, 12_501, 37_499, 37_500, 70_000, 124_999)
NARROW = {"embed_dims": 8, "num_heads": 2, "feedforward_channels": 8}
PROTOTYPES = {"dinov2_vitl16_short": ["head"], "dinov2_vits14": ["head", "patch_head"]}


@pytest.fixture(autouse=True)
def _plain_text(monkeypatch):
    """Keeps mmengine from formatting the config, most of the time of these tests."""

    def text(cfg):
        return "\n".join(f"{key} = {value!r}" for key, value in cfg.to_dict().items())

    monkeypatch.setattr(Config, "pretty_text", property(text))


def narrow_config(name, work_dir, prototypes=16):
    """A config with its own depth and schedules, narrow networks, and no images to read."""
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    depth = {"vit-l": 24, "vit-s": 12}[cfg.model.backbone.arch]
    cfg.model.backbone.arch = {**NARROW, "num_layers": depth}
    for head in {"head", "patch_head"} & set(cfg.model):
        sizes = {"in_channels": 8, "hidden_channels": 8, "bottleneck_channels": 8}
        cfg.model[head].update({**sizes, "out_channels": prototypes})
    cfg.merge_from_dict(
        {
            "work_dir": str(work_dir),
            "experiment_name": f"{name}-recipe",
            "log_level": "ERROR",
        }
    )
    cfg.default_hooks.pop("training_figure")
    # tools/train.py leaves out hooks that are switched off.
    cfg.default_hooks = {name: hook for name, hook in cfg.default_hooks.items() if hook}
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.train_dataloader.update({"num_workers": 0, "persistent_workers": False})
    return cfg


class Visits(ResumableTrainLoop):
    """Takes the steps of STEPS alone, with gradients of ones, and notes what they used."""

    def run(self):
        runner = self.runner
        self._end_steps_with_epochs()
        hooks = {type(hook).__name__: hook for hook in runner.hooks}
        for name in ("EMATeacherHook", "LastLayerFreezeHook", "TeacherTempWarmupHook"):
            hooks[name].before_train(runner)
        self.length = len(self.dataloader) * self.max_epochs
        self.seen = []
        for step in STEPS:
            self._iter, self._epoch = step, step // len(self.dataloader)
            for scheduler in runner.param_schedulers:
                scheduler.load_state_dict({"_global_step": step})
            hooks["TeacherTempWarmupHook"].before_train_iter(runner, 0)
            before = {n: p.clone() for n, p in runner.model.named_parameters()}
            for parameter in runner.model.parameters():
                parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
            runner.optim_wrapper.optimizer.step()
            hooks["EMATeacherHook"].after_train_iter(runner, 0)
            self.seen.append(self.values(before))

    def values(self, before):
        model, scalars = self.runner.model, self.runner.message_hub.log_scalars
        of_parameter = {
            parameter: group
            for group in self.runner.optim_wrapper.optimizer.param_groups
            for parameter in group["params"]
        }
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        return {
            "lr": {name: of_parameter[p]["lr"] for name, p in trained.items()},
            "weight_decay": {name: of_parameter[p]["weight_decay"] for name, p in trained.items()},
            "moved": {name: not torch.equal(before[name], p) for name, p in trained.items()},
            "momentum": scalars["train/teacher_momentum"].current(),
            "temps": [model.dino_loss.current_teacher_temp, model.ibot_loss.current_teacher_temp],
        }


def cosine(start, end, length, warmup=0):
    """A schedule of the authors: linear from 0 to ``start`` with both ends, then half a cosine."""
    rest = np.arange(length - warmup)
    return np.concatenate(
        [
            np.linspace(0, start, warmup),
            end + 0.5 * (start - end) * (1 + np.cos(np.pi * rest / len(rest))),
        ]
    )


def multiplier(name, depth):
    """The factor of the rate of a parameter: 0.9 a layer, 0.2 for the patch embedding."""
    if not name.startswith("backbone.") or name.startswith("backbone.ln1."):
        return 1.0
    block = int(name.split(".")[2]) + 1 if name.startswith("backbone.layers.") else 0
    return 0.9 ** (depth + 1 - block) * (0.2 if ".patch_embed." in name else 1.0)


@pytest.mark.parametrize("name", PROTOTYPES)
def test_schedules_are_those_of_the_authors(name, tmp_path):
    cfg = narrow_config(name, tmp_path)
    cfg.train_cfg.type = Visits
    cfg.train_dataloader.update({"batch_size": BATCH, "dataset": tiny_run.RandomViews(IMAGENET)})
    runner = Runner.from_cfg(cfg)
    runner.train()
    loop = runner.train_loop

    length = 100 * EPOCH
    assert loop.length == length
    rates = cosine(0.004 * math.sqrt(BATCH / 1024), 1e-6, length, 10 * EPOCH)
    decays = cosine(0.04, 0.4, length)
    momenta = cosine(0.992, 1.0, length)
    temps = np.concatenate([np.linspace(0.04, 0.07, 30 * EPOCH), np.full(length, 0.07)])
    depth = runner.model.backbone.num_layers
    prototypes = tuple(f"{head}.last_layer." for head in PROTOTYPES[name])
    for step, seen in zip(STEPS, loop.seen, strict=True):
        for parameter, lr in seen["lr"].items():
            assert lr == pytest.approx(rates[step] * multiplier(parameter, depth), rel=1e-12)
            spared = parameter.endswith(".bias") or ".ln" in parameter or "gamma" in parameter
            expected = 0 if spared else decays[step]
            assert seen["weight_decay"][parameter] == pytest.approx(expected, rel=1e-12), parameter
            frozen = parameter.startswith(prototypes) and step < EPOCH
            assert seen["moved"][parameter] is (step > 0 and not frozen), (step, parameter)
        assert seen["momentum"] == pytest.approx(momenta[step], rel=1e-12)
        assert seen["temps"] == pytest.approx([temps[step]] * 2, rel=1e-12)


def test_the_short_recipe_starts_from_the_authors_terms(tmp_path):
    """The logarithm of 65536 in their shares: 9.86 local, 1.23 global, 2 x 2.77 for iBOT."""
    published = Config.fromfile(CONFIGS / "dinov2_vitl16_short.py").model.head.out_channels
    cfg = narrow_config("dinov2_vitl16_short", tmp_path, published)
    cfg.model.backbone.arch.num_layers = 1
    model = MODELS.build(cfg.model)
    # A constant output, which the start is near to.
    for head in (model.head, model.teacher["head"]):
        torch.nn.init.zeros_(head.last_layer.weight_g)
    samples = tiny_run.RandomViews(2, view_sizes=[224] * 2 + [96] * 8)
    masks = dict(cfg.train_dataloader.collate_fn)
    del masks["type"]
    batch = collate_with_block_masks([samples[0], samples[1]], **masks)
    views = [torch.stack(list(view)) for view in batch["inputs"]]
    found = model.loss(views, masks=batch["masks"], mask_indices=batch["mask_indices"])
    assert float(found["dino"]) == pytest.approx(9.86 + 1.23, abs=0.01)
    assert float(found["ibot"]) == pytest.approx(2 * 2.77, abs=0.01)


@pytest.mark.parametrize("size", [14, 16])
def test_the_finish_starts_from_the_main_run_with_its_positions_resized(size, tmp_path):
    main, finish = {
        14: ("dinov2_vits14", "dinov2_vits14_highres"),
        16: ("dinov2_vitl16_short", "dinov2_vitl16_highres"),
    }[size]
    cfg = narrow_config(main, tmp_path)
    trained = MODELS.build(cfg.model).state_dict()
    path = tmp_path / f"epoch_{cfg.train_cfg.max_epochs}.pth"
    torch.save({"state_dict": trained, "meta": {"cfg": cfg.pretty_text}}, path)

    cfg = narrow_config(finish, tmp_path)
    assert cfg.load_from == f"work_dirs/{main}/{path.name}"
    assert cfg.train_cfg.max_epochs * (IMAGENET // BATCH) == 10_000
    runner = Runner.from_cfg(cfg)
    runner.load_checkpoint(str(path))
    state = runner.model.state_dict()
    assert list(state) == list(trained)
    side = cfg.train_dataloader.collate_fn.view_size // size
    for name, tensor in state.items():
        expected = trained[name]
        if name.endswith("pos_embed"):
            backbone = cfg.model.backbone
            expected = interpolate_pos_embed(
                expected,
                (224 // size, 224 // size),
                (side, side),
                num_extra_tokens=1,
                offset=backbone.get("pos_embed_offset", 0.1),
                antialias=backbone.get("pos_embed_antialias", False),
            )
        assert torch.equal(tensor, expected), name

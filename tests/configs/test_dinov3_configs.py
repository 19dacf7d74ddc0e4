"""Every config of DINOv3 trains past its warm-ups, its Gram start and a copy of the Gram teacher.

A stage starts from a checkpoint of the one before, as a user would start it.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import tiny_pretraining
import torch
from tiny_configs import read_config

FOLDER = Path(__file__).parents[2] / "configs" / "dinov3"
STEMS = sorted(path.stem for path in FOLDER.glob("*.py"))
STAGES = {"dinov3_vits16_gram": "dinov3_vits16", "dinov3_vits16_highres": "dinov3_vits16_gram"}
"""What a stage goes on from."""
GRAM_START = 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trains a config, and before it what it goes on from; returns the work dir."""
    images = tiny_pretraining.write_images(tmp_path_factory.mktemp("images"))
    done = {}

    def train(stem):
        if stem not in done:
            work_dir = tmp_path_factory.mktemp(stem)
            path = FOLDER / f"{stem}.py"
            command = tiny_pretraining.arguments(path, images, work_dir)
            command += gram_options(read_config(path))
            if stem in STAGES:
                command.append(f"load_from={newest(train(STAGES[stem]))}")
            tiny_pretraining.main(command)
            done[stem] = work_dir
        return done[stem]

    return train


def newest(work_dir):
    return work_dir / (work_dir / "last_checkpoint").read_text().strip()


def gram_options(cfg):
    """Heads for rotary positions, and groups, steps and undistorted crops of a run of seconds."""
    options = ["model.backbone.arch.num_heads=3", "model.backbone.position_encoding.head_dims=4"]
    if "gram" not in cfg.model:
        return options
    if cfg.model.get("koleo"):
        options.append("model.koleo.group_size=4")
    hook = cfg.default_hooks.gram_anchor
    steps = {"warmup": min(hook.warmup, 2)}
    if hook.start:
        steps |= {"start": GRAM_START, "first_refresh": GRAM_START}
    if hook.refresh_interval:
        steps["refresh_interval"] = 2
    options += [f"default_hooks.gram_anchor.{name}={value}" for name, value in steps.items()]
    views = cfg.train_dataloader.dataset.pipeline[-2].views
    place = f"train_dataloader.dataset.pipeline.{len(cfg.train_dataloader.dataset.pipeline) - 2}"
    return options + [
        f"{place}.views.{index}.clean_size={8 * cfg.model.backbone.patch_size}"
        for index, view in enumerate(views)
        if "clean_size" in view
    ]


@pytest.mark.parametrize("stem", STEMS)
def test_trains(trained, stem):
    work_dir, path = trained(stem), FOLDER / f"{stem}.py"
    tiny_pretraining.assert_trained(path, work_dir)
    (scalars,) = work_dir.rglob("scalars.json")
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    rows = [row for row in rows if "ibot" in row]
    for row in rows:
        terms = sum(row.get(name, 0) for name in ("dino", "ibot", "koleo", "gram"))
        assert terms == pytest.approx(row["loss"], rel=1e-4)
    gram = read_config(path).model.get("gram")
    assert ("gram" in rows[-1]) == (gram is not None)
    if gram is not None:
        assert rows[-1]["gram_weight"] == gram.weight
        assert rows[-1]["gram"] > 0
        assert rows[-1]["local_weight"] == 0.5


@pytest.mark.parametrize("stem", sorted(STAGES))
def test_a_stage_starts_with_the_teacher_before_it_as_gram_teacher(trained, stem):
    """That of the last stage never changes; the other's is copied again."""
    before = torch.load(newest(trained(STAGES[stem])), weights_only=False)["state_dict"]
    names = [name for name in before if name.startswith("teacher.backbone.")]
    epochs = sorted(trained(stem).glob("epoch_*.pth"))
    states = [torch.load(path, weights_only=False)["state_dict"] for path in epochs]
    gram = [
        {name: state[f"gram_anchor.{name.removeprefix('teacher.')}"] for name in names}
        for state in states
    ]
    stays = stem == "dinov3_vits16_highres"
    for earlier, later in pairwise([before, *gram]):
        assert all(torch.equal(later[name], earlier[name]) for name in names) is stays


def test_rates_are_those_of_the_authors_rule():
    """base * 4 * sqrt(batch / 1024), where ours is base * sqrt(batch / 1024)."""
    bases = {"dinov3_vitl16": 1e-3, "dinov3_vits16_gram": 3e-5, "dinov3_vits16_highres": 1.25e-5}
    for stem, base in bases.items():
        cfg = read_config(FOLDER / f"{stem}.py")
        assert cfg.optim_wrapper.optimizer.lr == pytest.approx(4 * base)
        assert cfg.auto_scale_lr.base_batch_size == 1024
        assert cfg.optim_wrapper.paramwise_cfg.batch_rule == "sqrt"

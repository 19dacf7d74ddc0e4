"""The two collapses of the paper's figure 7, from the log of tiny runs."""

from __future__ import annotations

import math

import tiny_run

SHARP = 0.02


def logged(work_dir, **loss):
    """Mean entropy and divergence of the last ten of 80 steps, as fractions of ln K."""
    runner = tiny_run.build(
        work_dir,
        epochs=40,
        batch_size=16,
        dataset=tiny_run.RandomViews(32),
        model=tiny_run.vit_model(loss={"teacher_temp": SHARP, **loss}),
        wrapper={"optimizer": {"type": "AdamW", "lr": 0.01, "weight_decay": 0.04}},
        param_scheduler=None,
        default_hooks={"checkpoint": None},
        custom_hooks=tiny_run.hooks(
            EMATeacherHook={"momentum": 0.99, "end_momentum": 0.99},
            LastLayerFreezeHook=None,
            TeacherTempWarmupHook=None,
        ),
    )
    runner.train()
    scalars = runner.message_hub.log_scalars
    bound = math.log(runner.model.dino_loss.num_prototypes)
    return [
        scalars[f"train/{name}"].data[0][-10:].mean() / bound for name in ("teacher_entropy", "kl")
    ]


def test_without_centring_the_entropy_goes_to_0(tmp_path):
    entropy, divergence = logged(tmp_path, targets="softmax")
    assert entropy < 0.001
    assert divergence < 0.005


def test_without_sharpening_the_entropy_goes_to_its_bound(tmp_path):
    entropy, divergence = logged(tmp_path, teacher_temp=0.1)
    assert 0.95 < entropy <= 1
    assert divergence < 0.02


def test_with_both_the_entropy_stays_between_its_bounds(tmp_path):
    entropy, _ = logged(tmp_path)
    assert 0.05 < entropy < 0.9

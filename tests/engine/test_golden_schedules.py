"""The schedules of a real run equal the reference's, iteration by iteration."""

from __future__ import annotations

import pytest
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import PARAM_SCHEDULERS

PEAK = 0.0005 * 1024 / 256


class Watch(Hook):
    """Notes what is in force in each iteration."""

    priority = "LOWEST"

    def __init__(self):
        self.seen = {name: [] for name in ("lr", "weight_decay", "momentum", "teacher_temp")}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        scalars = runner.message_hub.log_scalars
        self.seen["momentum"].append(scalars["train/teacher_momentum"].current())
        self.seen["teacher_temp"].append(runner.model.dino_loss.current_teacher_temp)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        group = runner.optim_wrapper.optimizer.param_groups[0]
        for name in ("lr", "weight_decay"):
            self.seen[name].append(group[name])


def test_schedulers_and_hooks_of_a_run_equal_the_reference(golden, tmp_path):
    arrays = golden("schedules", "a/")
    epochs, length = int(arrays["epochs"]), int(arrays["iters_per_epoch"])
    by_iteration = {"by_epoch": True, "convert_to_iter_based": True}
    runner = tiny_run.build(
        tmp_path,
        dataset=tiny_run.RandomViews(2 * length),
        batch_size=2,
        epochs=epochs,
        model=tiny_run.vit_model(loss={"teacher_temp": 0.07}),
        wrapper={"optimizer": {"type": "AdamW", "lr": PEAK, "weight_decay": 0.04}},
        param_scheduler=[
            {
                "type": "mmdino.WarmupCosineLR",
                "warmup": epochs // 5,
                "end_lr": 1e-6,
                **by_iteration,
            },
            {"type": "mmdino.CosineWeightDecay", "end_value": 0.4, **by_iteration},
        ],
        custom_hooks=tiny_run.hooks(
            EMATeacherHook={"momentum": 0.996},
            TeacherTempWarmupHook={"start": 0.04, "epochs": epochs // 3},
        ),
    )
    watch = Watch()
    runner.register_hook(watch)
    runner.train()
    temperatures = arrays["teacher_temp_by_epoch"].repeat_interleave(length)
    for name, values in watch.seen.items():
        expected = temperatures if name == "teacher_temp" else arrays[name]
        assert values == pytest.approx(expected.tolist(), abs=1e-12), name


@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        ("lr", {"type": "mmdino.WarmupCosineLR", "end_lr": 1e-6}),
        ("weight_decay", {"type": "mmdino.CosineWeightDecay", "end_value": 0.4}),
    ],
)
def test_schedulers_equal_the_reference(golden, case, name, scheduler):
    arrays = golden("schedules", f"{case}/")
    epochs, length = int(arrays["epochs"]), int(arrays["iters_per_epoch"])
    if name == "lr":
        scheduler = {**scheduler, "warmup": epochs // 5}
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = torch.optim.AdamW([weight], lr=PEAK, weight_decay=0.04)
    built = PARAM_SCHEDULERS.build(
        {**scheduler, "end": epochs, "by_epoch": True, "convert_to_iter_based": True},
        default_args={"optimizer": optimizer, "epoch_length": length},
    )
    found = []
    for _ in range(epochs * length):
        found.append(optimizer.param_groups[0][name])
        built.step()
    assert found == pytest.approx(arrays[name].tolist(), abs=1e-12)

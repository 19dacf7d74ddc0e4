"""The stop at a loss that is not finite."""

from __future__ import annotations

import math
import re

import pytest
import tiny_run
import torch

POISON_WITHIN_EPOCH = 11
"""Index of an image that is not in the epoch's last batch, as is the other one."""


def train_into_the_poison(work_dir, poison=5, **options):
    """Trains until the image whose views are not finite; returns runner, records and message."""
    runner = tiny_run.build(
        work_dir, batch_size=2, dataset=tiny_run.RandomViews(poison=poison), **options
    )
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    with pytest.raises(ValueError, match="The loss is nan") as caught:
        runner.train()
    return runner, recorder, str(caught.value)


def test_message_has_what_one_needs_to_look_further(tmp_path):
    runner, recorder, message = train_into_the_poison(tmp_path)
    rate = f"{recorder.rows[-1]['lr']:.4g}"
    assert f"at iteration {runner.iter + 1} (epoch 1), with learning rate {rate} " in message
    assert "gradient norm nan" in message
    files = re.search(r"Files of the batch: (.*)\.$", message).group(1).split(", ")
    assert len(files) == 2
    assert "images/5.jpg" in files


def test_teacher_centre_and_last_checkpoint_stay(tmp_path):
    checkpoint = {"type": "CheckpointHook", "by_epoch": False, "interval": 1}
    runner, recorder, _ = train_into_the_poison(tmp_path, default_hooks={"checkpoint": checkpoint})
    *_, last_good, bad = recorder.rows
    assert "loss" not in bad, "the run stopped in the middle of the iteration"
    teacher, _ = runner.model.teacher_pairs()
    assert torch.equal(tiny_run.flat(teacher), last_good["teacher"])
    assert torch.equal(runner.model.dino_loss.center, last_good["center"])
    path = tmp_path / f"iter_{runner.iter}.pth"
    assert path.is_file()
    assert not (tmp_path / f"iter_{runner.iter + 1}.pth").exists()
    state = torch.load(path, weights_only=False)["state_dict"]
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_good_is_a_checkpoint_whose_weights_gave_a_finite_loss(tmp_path):
    checkpoint = {"type": "mmdino.CheckpointHook", "by_epoch": False}
    runner, _, message = train_into_the_poison(
        tmp_path, default_hooks={"checkpoint": {**checkpoint, "interval": 1}}
    )
    assert runner.iter > 1, "the poison comes after some checkpoints"
    good = tmp_path / f"iter_{runner.iter - 1}.pth"
    assert f"Last good checkpoint: {good} (iteration {runner.iter - 1})." in message


def test_diverged_weights_are_no_good_checkpoint(tmp_path):
    # The first step leaves weights that are finite and of no use.
    runner = tiny_run.build(
        tmp_path,
        wrapper={"optimizer": {"type": "SGD", "lr": 1e30}, "clip_grad": None},
        param_scheduler=[],
        default_hooks={
            "checkpoint": {"type": "mmdino.CheckpointHook", "by_epoch": False, "interval": 1}
        },
    )
    with pytest.raises(ValueError, match="No good checkpoint: the only one holds the weights"):
        runner.train()
    assert [path.name for path in tmp_path.glob("*.pth")] == ["iter_1.pth"]


def test_message_says_what_is_not_known(tmp_path):
    runner = tiny_run.build(
        tmp_path,
        dataset=WithoutSamples(poison=5),
        wrapper={"clip_grad": None},
        default_hooks={"checkpoint": None},
    )
    with pytest.raises(ValueError, match="The loss is nan") as caught:
        runner.train()
    for part in (
        "gradient norm not measured (no clip_grad)",
        "No checkpoint has been written.",
        "Files of the batch: unknown (img_path is not among the meta_keys of PackInputs).",
    ):
        assert part in str(caught.value)


def test_of_a_large_batch_some_files_are_named(tmp_path):
    runner = tiny_run.build(tmp_path, dataset=tiny_run.RandomViews(20, poison=5), batch_size=20)
    with pytest.raises(ValueError, match=r"(images/\d+\.jpg, ){15}images/\d+\.jpg and 4 more\.$"):
        runner.train()


def test_on_a_device_the_loss_is_read_in_the_next_iteration(tmp_path, pretended_device):
    runner, recorder, message = train_into_the_poison(
        tmp_path, POISON_WITHIN_EPOCH, default_hooks={"checkpoint": None}
    )
    *_, poisoned, _ = recorder.rows
    assert math.isnan(poisoned["loss"])
    rate = f"{poisoned['lr']:.4g}"
    assert f"at iteration {runner.iter} (epoch 1), with learning rate {rate} and grad" in message
    assert "gradient norm nan" in message
    assert f"images/{POISON_WITHIN_EPOCH}.jpg" in message


@pytest.mark.parametrize("hook", ["CheckpointHook", "mmdino.CheckpointHook"])
def test_on_a_device_no_checkpoint_is_written_after_it_either(tmp_path, pretended_device, hook):
    checkpoint = {"type": hook, "by_epoch": False, "interval": 1}
    runner, _, message = train_into_the_poison(tmp_path, default_hooks={"checkpoint": checkpoint})
    assert f"at iteration {runner.iter + 1} (epoch 1)" in message
    written = sorted(path.stem for path in tmp_path.glob("*.pth"))
    assert written == sorted(f"iter_{number}" for number in range(1, runner.iter + 1))
    if hook == "mmdino.CheckpointHook":
        good = tmp_path / f"iter_{runner.iter - 1}.pth"
        assert f"Last good checkpoint: {good} (iteration {runner.iter - 1})." in message


def test_on_a_device_the_last_loss_is_read_at_the_end_of_the_epoch(tmp_path, pretended_device):
    dataset = tiny_run.RandomViews(4, poison=3)
    validation = tiny_run.validation()
    runner = tiny_run.build(tmp_path, dataset=dataset, epochs=1, **validation)
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    with pytest.raises(ValueError, match=r"The loss is nan at iteration 1 \(epoch 1\)"):
        runner.train()
    assert len(recorder.rows) == 1
    assert not list(tmp_path.glob("*.pth"))
    assert not any(name.startswith("val/") for name in runner.message_hub.log_scalars)


class WithoutSamples(tiny_run.RandomViews):
    def __getitem__(self, index):
        return {"inputs": super().__getitem__(index)["inputs"]}

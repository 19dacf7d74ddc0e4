"""The start of the queue. tests/engine/test_swav.py has it in resumed runs."""

from __future__ import annotations

import pytest
import tiny_methods
import tiny_run
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


class Queue(Hook):
    """Notes how many images are in the queue after each micro-batch."""

    def __init__(self):
        self.counts = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.counts.append(runner.model.loss_function.queue.count.item())


def train(work_dir, epochs, **options):
    hooks = tiny_methods.hooks("swav", QueueStartHook={"epochs": epochs})
    runner = tiny_run.build(work_dir, **tiny_methods.options("swav", custom_hooks=hooks, **options))
    queue = Queue()
    runner.register_hook(queue)
    runner.train()
    return queue.counts, runner


@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_queue_is_filled_after_the_epochs_without_it(tmp_path, epochs):
    counts, _ = train(tmp_path, epochs)
    assert counts == [min(max(4 * (step - 4 * epochs), 0), 24) for step in range(1, 17)]


def test_epochs_are_counted_in_a_loop_by_iterations_too(tmp_path):
    options = {
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 6},
        "param_scheduler": [{"type": "mmdino.WarmupCosineLR", "warmup": 3, "by_epoch": False}],
    }
    counts, _ = train(tmp_path, 1, **options)
    assert counts == [0, 0, 0, 0, 4, 8]


def test_each_micro_batch_enters_the_queue(tmp_path):
    counts, _ = train(tmp_path, 0, batch_size=2, accumulative_counts=2)
    assert counts == [min(2 * step, 24) for step in range(1, 33)]


@pytest.mark.parametrize(("epochs", "warned"), [(2, False), (3, True), (9, True)])
def test_a_queue_that_the_run_does_not_come_to_is_told(tmp_path, epochs, warned):
    _, runner = train(tmp_path, epochs)
    message = f"filled after {epochs} epoch(s), so it is full after {4 * epochs + 6} iterations"
    assert (message in tiny_run.log_text(runner)) == warned


@pytest.mark.parametrize("batch_size", [5, 16])
def test_a_length_that_batches_do_not_divide_is_refused(tmp_path, batch_size):
    message = rf"queue_length=24 is no multiple of the {batch_size} images .* such as (25|32)"
    with pytest.raises(ValueError, match=message):
        train(tmp_path, 1, batch_size=batch_size)


def test_training_without_the_hook_is_refused(tmp_path):
    hooks = tiny_methods.hooks("swav", QueueStartHook=None)
    runner = tiny_run.build(tmp_path, **tiny_methods.options("swav", custom_hooks=hooks))
    message = r"nothing updates its queue\. .*dict\(type='mmdino.QueueStartHook'\)"
    with pytest.raises(ValueError, match=message):
        runner.train()


@pytest.mark.parametrize("name", ["swav", "simsiam"])
def test_the_hook_without_a_queue_is_refused(tmp_path, name):
    loss = {"loss": tiny_methods.swav_loss(queue_length=0)} if name == "swav" else {}
    model = tiny_methods.method(name, **loss)
    hooks = tiny_methods.hooks("swav", LastLayerFreezeHook=None)
    options = tiny_methods.options("swav", model=model, custom_hooks=hooks)
    runner = tiny_run.build(tmp_path, **options)
    with pytest.raises(TypeError, match=r"QueueStartHook works on a model with .*'queue_started'"):
        runner.train()


def test_negative_epochs_are_refused():
    with pytest.raises(ValueError, match="epochs=-1"):
        HOOKS.build({"type": "mmdino.QueueStartHook", "epochs": -1})

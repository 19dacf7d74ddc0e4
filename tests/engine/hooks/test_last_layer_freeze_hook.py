"""The freeze of the prototypes. tests/engine/test_accumulation.py has it with accumulation."""

from __future__ import annotations

import pytest
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import nn


def moved(work_dir, epochs=None, steps=None, **options):
    """Whether the last layer has moved after each but the first iteration, three an epoch."""
    model = tiny_run.vit_model()
    model["head"]["norm_last_layer"] = False
    runner = tiny_run.build(
        work_dir,
        model=model,
        custom_hooks=tiny_run.hooks(LastLayerFreezeHook={"epochs": epochs, "steps": steps}),
        **{"epochs": 3, **options},
    )
    runner.model.init_weights()
    layer = runner.model.head.last_layer
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    runner.train()
    prototypes = recorder.column("prototypes")
    assert len(prototypes[0]) == sum(p.numel() for p in (layer.weight_g, layer.weight_v))
    assert not torch.equal(recorder.rows[0]["student"], recorder.rows[2]["student"])
    # The learning rate of the first iteration is 0.
    return [not torch.equal(prototypes[0], after) for after in prototypes[1:]]


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_last_layer_stays_for_the_epochs_asked_for(tmp_path, epochs):
    frozen = max(3 * epochs - 1, 0)
    assert moved(tmp_path, epochs) == [False] * frozen + [True] * (8 - frozen)


def test_epochs_are_counted_in_a_loop_by_iterations_too(tmp_path):
    options = {
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 5},
        "param_scheduler": [{"type": "mmdino.WarmupCosineLR", "warmup": 3, "by_epoch": False}],
    }
    assert moved(tmp_path, 1, **options) == [False] * 2 + [True] * 2


@pytest.mark.parametrize("steps", [0, 1, 4, 9])
def test_last_layer_stays_for_the_steps_asked_for(tmp_path, steps):
    frozen = max(steps - 1, 0)
    assert moved(tmp_path, steps=steps) == [False] * frozen + [True] * (8 - frozen)


def test_steps_are_the_optimisers(tmp_path):
    """Two micro-batches a step, the last of each epoch alone: steps end after 2, 3, 5, 6, ..."""
    found = moved(tmp_path, steps=3, accumulative_counts=2)
    assert found == [False] * 4 + [True] * 4


def test_a_freeze_by_more_steps_than_the_run_has_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"steps=10, but the run has 9 optimiser step\(s\)"):
        moved(tmp_path, steps=10)


@pytest.mark.parametrize("length", [{"steps": 9}, {"epochs": 3}, {"epochs": 4}])
def test_a_freeze_for_the_whole_run_is_told(tmp_path, length):
    moved(tmp_path, **length)
    log = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "freezes head.last_layer for all 9 optimiser step(s) of the run" in log


def test_epochs_and_steps_exclude_each_other():
    hook = {"type": "mmdino.LastLayerFreezeHook", "epochs": 1, "steps": 5}
    with pytest.raises(ValueError, match="epochs=1 and steps=5; it takes one of the two"):
        HOOKS.build(hook)
    assert HOOKS.build({**hook, "epochs": None}).steps == 5
    assert HOOKS.build({"type": "mmdino.LastLayerFreezeHook"}).epochs == 1


def sgd(**options):
    return {"optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9, **options}}


def test_last_layer_joins_a_run_with_momentum(tmp_path):
    """As in dino_resnet50.py: fused SGD, which was the default, failed after the freeze."""
    assert moved(tmp_path, 1, wrapper=sgd()) == [False] * 2 + [True] * 6


def test_sgd_that_cannot_start_late_is_refused(tmp_path):
    with pytest.raises(ValueError, match="fused=True cannot start its momentum"):
        moved(tmp_path, 1, wrapper=sgd(fused=True))


def backbones(work_dir, what):
    """Student's and teacher's backbones after each iteration, and all weights at the end."""
    freeze = {"type": "mmdino.LastLayerFreezeHook", "layer": "backbone", "what": what}
    hooks = [*tiny_run.hooks(LastLayerFreezeHook=None), {**freeze, "epochs": 1}]
    runner = tiny_run.build(
        work_dir, custom_hooks=hooks, batch_size=2, accumulative_counts=2, param_scheduler=[]
    )
    model, rows = runner.model, []

    class Recorder(Hook):
        priority = "LOWEST"

        def before_train(self, runner):
            self.after_train_iter(runner, 0)

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            networks = (model.backbone, model.teacher["backbone"], model.head)
            rows.append([tiny_run.flat(network.parameters()) for network in networks])

    runner.register_hook(Recorder())
    runner.train()
    return rows, model.state_dict()


def test_without_a_backward_pass_a_frozen_backbone_stays_as_with_dropped_gradients(tmp_path):
    """Twelve images, six micro-batches an epoch; weight decay does not touch it either."""
    rows, end = backbones(tmp_path / "backward", "backward")
    start = rows[0]
    assert all(torch.equal(row[place], start[place]) for row in rows[:7] for place in (0, 1))
    assert not torch.equal(rows[6][2], start[2])
    assert not torch.equal(rows[-1][0], start[0])
    assert not torch.equal(rows[-1][1], start[1])
    _, expected = backbones(tmp_path / "gradient", "gradient")
    for name, tensor in expected.items():
        assert torch.equal(end[name], tensor), name


def test_no_gradient_is_computed_for_what_has_no_backward_pass(tmp_path):
    freeze = {"layer": "backbone", "what": "backward", "epochs": 1}
    runner = tiny_run.build(tmp_path, custom_hooks=tiny_run.hooks(LastLayerFreezeHook=freeze))
    wanted = []

    class Recorder(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            wanted.append({p.requires_grad for p in runner.model.backbone.parameters()})

    runner.register_hook(Recorder())
    runner.train()
    assert wanted == [{False}] * 3 + [{True}] * 3


def test_a_wrapper_gets_all_the_gradients_that_it_wants(tmp_path):
    runner = tiny_run.build(tmp_path)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.model = nn.DataParallel(runner.model)
    freeze = {"type": "mmdino.LastLayerFreezeHook", "layer": "backbone", "what": "backward"}
    hook = HOOKS.build(freeze)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    assert all(p.requires_grad for p in runner.model.module.backbone.parameters())


def test_what_is_withheld_is_one_of_three():
    with pytest.raises(ValueError, match=r"what='rate'.*'gradient', 'step', 'backward'"):
        HOOKS.build({"type": "mmdino.LastLayerFreezeHook", "what": "rate"})


@pytest.mark.parametrize("unit", ["epochs", "steps"])
def test_negative_lengths_are_refused(unit):
    with pytest.raises(ValueError, match=f"{unit}=-1"):
        HOOKS.build({"type": "mmdino.LastLayerFreezeHook", unit: -1})

"""A whole run of the real Runner equals the reference's, number for number.

Three epochs of four iterations on given views: model, hooks, optimiser wrapper, schedulers and loop
are the shipped ones, composed as the configs compose them.
"""

from __future__ import annotations

import pytest
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from torch.utils.data import Dataset

from mmdino.engine.optimizers.decay_groups_constructor import parameter_groups
from mmdino.weights.layouts import authors_vit
from mmdino.weights.layouts.renaming import strip_prefix

NUM_VIEWS = 5


@pytest.fixture
def reference(golden):
    """The run, with the weights it really started from.

    What train.npz calls its start was written after training: it equals the student's end. The true
    start was found again from the initialisation of the reference (its seed is 8); that the run
    below ends where the reference's ends, to 1e-9, is the proof that it is the right one.
    """
    return golden("train") | golden("train_start")


def in_our_names(reference, prefix):
    """Weights of the reference below a prefix, as a state dict of one network of ours."""
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in reference.items()
        if name.startswith(prefix)
    }
    backbone = {
        name.removeprefix("backbone."): tensor
        for name, tensor in weights.items()
        if name.startswith("backbone.")
    }
    head = {name: tensor for name, tensor in weights.items() if name.startswith("head.")}
    return head | {
        f"backbone.{name}": tensor for name, tensor in authors_vit.to_mmdino(backbone).items()
    }


class GivenViews(Dataset):
    """The reference's views, image by image, in the order of its iterations."""

    metainfo: dict = {}

    def __init__(self, views, batch_size, iterations):
        self.views = views
        self.batch_size = batch_size
        self.iterations = iterations

    def __len__(self):
        return self.iterations * self.batch_size

    def __getitem__(self, index):
        _, epoch, _ = index.seed
        iteration, image = divmod(int(index), self.batch_size)
        iteration += epoch * self.iterations
        return {"inputs": [view[iteration, image] for view in self.views]}


class Recorder(Hook):
    """Notes what the iterations used and left."""

    priority = "LOWEST"

    def __init__(self):
        self.seen = {
            name: []
            for name in ("lr", "weight_decay", "momentum", "losses", "center", "clipped_tensors")
        }

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        group = runner.optim_wrapper.optimizer.param_groups[0]
        self.seen["lr"].append(group["lr"])
        self.seen["weight_decay"].append(group["weight_decay"])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        scalars = runner.message_hub.log_scalars
        self.seen["losses"].append(outputs["loss"].item())
        self.seen["center"].append(runner.model.dino_loss.center.clone())
        self.seen["momentum"].append(scalars["train/teacher_momentum"].current())
        self.seen["clipped_tensors"].append(scalars["train/clipped_tensors"].current())


def test_run_equals_the_reference(reference, tmp_path):
    batch_size = int(reference["batch"])
    views = [reference[f"view_{view}"] for view in range(NUM_VIEWS)]
    recorder = Recorder()
    runner = tiny_run.build(
        tmp_path,
        dataset=GivenViews(views, batch_size, int(reference["iters_per_epoch"])),
        batch_size=batch_size,
        epochs=int(reference["epochs"]),
        model=tiny_run.vit_model(loss={"teacher_temp": float(reference["teacher_temp"])}),
        wrapper={
            "optimizer": {
                "type": "AdamW",
                "lr": float(reference["lr"].max()),
                "weight_decay": float(reference["weight_decay"][0]),
            },
            "clip_grad": {"type": "per_tensor", "max_norm": float(reference["clip_grad"])},
        },
        custom_hooks=tiny_run.hooks(
            EMATeacherHook={"momentum": float(reference["momentum"][0])},
            LastLayerFreezeHook={"epochs": int(reference["freeze_last_layer_epochs"])},
            TeacherTempWarmupHook={
                "start": float(reference["warmup_teacher_temp"]),
                "epochs": int(reference["warmup_teacher_temp_epochs"]),
            },
        ),
    )
    runner._train_dataloader["sampler"]["shuffle"] = False
    runner.register_hook(recorder)
    runner.model.double()
    start = in_our_names(reference, "start/")
    start |= {f"teacher.{name}": tensor for name, tensor in start.items()}
    start["dino_loss.center"] = torch.zeros(1, int(reference["out_dim"]))
    torch.save({"state_dict": start}, tmp_path / "start.pth")
    runner._load_from = str(tmp_path / "start.pth")

    runner.train()

    for name, values in recorder.seen.items():
        found = torch.stack([torch.as_tensor(value, dtype=torch.float64) for value in values])
        expected = reference[name].double()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9, msg=f"{name}: {found}")
    state = runner.model.state_dict()
    for network, prefix in (("student", ""), ("teacher", "teacher.")):
        for name, expected in in_our_names(reference, f"{network}_end/").items():
            torch.testing.assert_close(state[prefix + name], expected, rtol=0, atol=1e-9)


def test_weight_decay_groups_are_the_references(reference):
    """What the optimiser is given, in the names of the reference."""
    model = MODELS.build(tiny_run.vit_model())
    decayed, others = parameter_groups(model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    for group, expected in ((decayed, "decayed"), (others, "not_decayed")):
        ours = {names[parameter]: parameter for parameter in group["params"]}
        backbone = authors_vit.from_mmdino(strip_prefix(ours, "backbone."))
        found = {f"backbone.{name}" for name in backbone}
        found |= {name for name in ours if not name.startswith("backbone.")}
        assert found == set(reference[expected])
    assert (decayed.get("weight_decay"), others["weight_decay"]) == (None, 0.0)

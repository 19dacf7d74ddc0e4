"""Runs of the methods that are not DINO, small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path

import tiny_dinov2
import tiny_distillation
import tiny_run
import torch
from torch import nn

METHODS = ("byol", "simsiam", "barlow_twins", "simclr", "mocov3", "swav")
WITH_TEACHER = ("byol", "mocov3")
"""Methods with a teacher of moving averages."""
IMAGES = 16
"""Images of an epoch."""
QUEUE = 24
"""Places of SwAV's queue: half full after two epochs, and used from within the third."""


class CollapsingLoss(nn.Module):
    """Pulls the features of all images together: nothing keeps them apart."""

    def forward(self, student, teacher):
        return {"loss": student.var(1).mean()}


def projector(in_channels=12, out_channels=8):
    """Config of an MLP of mmpretrain with batch norm."""
    return {
        "type": "NonLinearNeck",
        "in_channels": in_channels,
        "hid_channels": 16,
        "out_channels": out_channels,
        "with_avg_pool": False,
        "norm_cfg": {"type": "BN1d"},
    }


def swav_loss(**options):
    """Config of SwAV's loss."""
    sizes = {"num_prototypes": 10, "in_channels": 8, "queue_length": QUEUE}
    return {"type": "mmdino.SwAVLoss", **sizes, **options}


def method(name, **options):
    """Config of a method with a ViT of width 12: one of METHODS, or collapsing."""
    predictor = {"predictor": projector(8)}
    methods = {
        "byol": {"teacher": "ema", "loss": {"type": "mmdino.BYOLLoss"}, **predictor},
        "mocov3": {"teacher": "ema", "loss": {"type": "mmdino.MoCoV3Loss"}, **predictor},
        "simsiam": {"teacher": "student", "loss": {"type": "mmdino.SimSiamLoss"}, **predictor},
        "simclr": {"teacher": "student", "loss": {"type": "mmdino.SimCLRLoss"}},
        "barlow_twins": {"teacher": "student", "loss": {"type": "mmdino.BarlowTwinsLoss"}},
        "swav": {"teacher": "student", "loss": swav_loss()},
        "collapsing": {
            "teacher": "student",
            "head": {"type": nn.Identity},
            "loss": {"type": CollapsingLoss},
        },
    }
    model = tiny_run.vit_model()
    return {
        "type": "mmdino.StudentTeacher",
        "backbone": model["backbone"],
        "head": projector(),
        "data_preprocessor": model["data_preprocessor"],
        **methods[name],
        **options,
    }


def hooks(name, **changes):
    """Configs of the hooks of a method: DINO's without those of the prototypes, and its own."""
    defaults = {
        "CenterUpdateHook": None,
        "LastLayerFreezeHook": None,
        "TeacherTempWarmupHook": None,
    }
    if name not in WITH_TEACHER:
        defaults["EMATeacherHook"] = None
    if name == "swav":
        # The queue starts with the second epoch.
        defaults["QueueStartHook"] = {"epochs": 1}
        defaults["LastLayerFreezeHook"] = {"epochs": 1, "layer": "loss_function.prototypes"}
    return tiny_run.hooks(**defaults | changes)


def distillation(checkpoint):
    """The model and the hooks of a distillation from the file of a teacher, as options.

    Without KoLeo, which compares the images of a micro-batch.
    """
    return {
        "model": tiny_dinov2.distillation(checkpoint, koleo_weight=0),
        "custom_hooks": tiny_run.hooks(),
    }


def options(name, folder=None, **changes):
    """What a run of four epochs of four steps passes to ``tiny_run.build``.

    Args:
        name: One of METHODS, of ``tiny_dinov2.RUNS``, or a distillation.
        folder: Where a distillation finds the file of its teacher, or writes it.
        **changes: Other options, in place of those here.
    """
    if name in tiny_dinov2.RUNS:
        return tiny_dinov2.run(name, IMAGES, **changes)
    if name == "feature_distillation":
        path = Path(folder, "feature_teacher.pth")
        if not path.exists():
            tiny_distillation.write_teacher(path)
        return tiny_distillation.run(path, images=IMAGES, **{"epochs": 4, **changes})
    if name == "distillation":
        path = Path(folder, "teacher.pth")
        if not path.exists():
            tiny_dinov2.write_teacher(path)
        changes = {**distillation(path), **changes}
    else:
        changes = {"model": method(name), "custom_hooks": hooks(name), **changes}
    return {
        "dataset": tiny_run.RandomViews(IMAGES, torch.get_default_dtype()),
        "epochs": 4,
        **changes,
    }


def assert_ranks_are_alone(folder, name):
    """Compares what methods_on_two_ranks.py wrote for a method: each rank, and a process alone."""
    alone, *halves = (
        torch.load(folder / f"{run}.pth", weights_only=False)[name] for run in ("alone", 0, 1)
    )
    for way in ("replicated", "sharded", "resumed"):
        for half in halves:
            found = half[way]
            assert len(found["rows"]) == (4 if way == "resumed" else 12)
            for row, expected in zip(found["rows"], alone["rows"][found["start"] :], strict=True):
                assert list(row) == list(expected)
                for key, tensor in expected.items():
                    torch.testing.assert_close(row[key], tensor, rtol=0, atol=1e-9, msg=key)


def assert_resumed_is_uninterrupted(folder):
    """Compares the three runs that methods_killed_and_resumed.py wrote for a method."""
    interrupted, resumed, whole = (
        [json.loads(line) for line in (folder / f"{run}.jsonl").read_text().splitlines()]
        for run in ("killed", "resumed", "uninterrupted")
    )
    assert interrupted == whole[: len(interrupted)]
    assert resumed == whole[-len(resumed) :]
    assert resumed[0][0] < len(interrupted) < len(whole)
    # The second micro-batch of each of the steps.
    assert {took_step for _, _, took_step in whole[1::2]} == {True, False}
    end, expected = (
        torch.load(folder / f"{run}.pth", weights_only=False)
        for run in ("resumed", "uninterrupted")
    )
    for key, tensor in expected["model"].items():
        assert torch.equal(end["model"][key], tensor), key
    # Groups may name their networks, which assert_close does not compare.
    groups = [run["optimizer"].pop("param_groups") for run in (end, expected)]
    assert groups[0] == groups[1]
    torch.testing.assert_close(end["optimizer"], expected["optimizer"], rtol=0, atol=0)

"""Runs of the methods that are not DINO, small enough for a test."""

from __future__ import annotations

import json
import subprocess
import sys

import tiny_dinov2
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


def options(name, **changes):
    """What a run of four epochs of four steps passes to ``tiny_run.build``."""
    if name in tiny_dinov2.RUNS:
        return tiny_dinov2.run(name, IMAGES, **changes)
    if name != "distillation":
        changes = {"model": method(name), "custom_hooks": hooks(name), **changes}
    return {
        "dataset": tiny_run.RandomViews(IMAGES, torch.get_default_dtype()),
        "epochs": 4,
        **changes,
    }


def script_runs(script, folder, *names):
    """Runs a script of tests/scripts for some methods."""
    subprocess.run(
        [sys.executable, str(tiny_run.SCRIPTS / script), str(folder), *names],
        env=tiny_run.script_env(CUDA_VISIBLE_DEVICES="", GLOO_SOCKET_IFNAME="lo"),
        stdout=subprocess.DEVNULL,
        timeout=600,
        check=True,
    )


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

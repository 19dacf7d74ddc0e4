"""Methods that are not DINO, as configs of StudentTeacher with losses of a few lines."""

from __future__ import annotations

import tiny_run
import torch
from torch import nn
from torch.nn import functional

from mmdino.models.losses.cross_view import view_pairs


class CosineLoss(nn.Module):
    """Mean over pairs of views of -cos(prediction, target), no gradient through the target."""

    def forward(self, student, teacher):
        pairs = view_pairs(len(student), len(teacher))
        similar = [
            functional.cosine_similarity(student[source], teacher[target].detach(), dim=-1).mean()
            for target, source in pairs
        ]
        return {"loss": -torch.stack(similar).mean()}


class DecorrelationLoss(nn.Module):
    """Mean over pairs of the squared distance of the cross-correlation from the identity."""

    def forward(self, student, teacher):
        losses = []
        for target, source in view_pairs(len(student), len(teacher)):
            first, second = (
                (x - x.mean(0)) / (x.std(0) + 1e-3) for x in (student[source], teacher[target])
            )
            correlation = first.T @ second / len(first)
            identity = torch.eye(len(correlation), dtype=correlation.dtype)
            losses.append((correlation - identity).square().mean())
        return {"loss": torch.stack(losses).mean()}


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


def method(name, **options):
    """Config of a method with a ViT of width 12: byol, simsiam, barlow_twins or collapsing."""
    predictor = {"predictor": projector(8)}
    methods = {
        "byol": {"teacher": "ema", "loss": {"type": CosineLoss}, **predictor},
        "simsiam": {"teacher": "student", "loss": {"type": CosineLoss}, **predictor},
        "barlow_twins": {"teacher": "student", "loss": {"type": DecorrelationLoss}},
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
    """Configs of the hooks of a method: DINO's without those of the prototypes."""
    ema = {} if name == "byol" else {"EMATeacherHook": None}
    return tiny_run.hooks(
        CenterUpdateHook=None,
        LastLayerFreezeHook=None,
        TeacherTempWarmupHook=None,
        **{**ema, **changes},
    )

"""The targets of the student are the reference implementations'."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tiny_run
import torch
from mmengine.registry import MODELS
from torch.nn import functional

from mmdino.models.layers import LazyLogits
from mmdino.models.losses.targets import centered, sinkhorn_knopp

CASES = ("cls", "warm", "fewer_samples_than_prototypes", "more_samples", "sharp")


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_sinkhorn_knopp_equals_the_reference(golden, case, iterations):
    """DINOv2's, for class tokens (sharp and warm teachers) and patches."""
    arrays = golden("sinkhorn", f"{case}/")
    found = sinkhorn_knopp(arrays["logits"], float(arrays["temp"]), iterations).exp()
    expected = arrays[f"targets_{iterations}_iterations"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_sinkhorn_knopp_of_two_ranks_is_that_of_all_samples(golden, tmp_path):
    """Two processes, with equal numbers of class tokens and 9 and 4 masked patches."""
    script = tiny_run.SCRIPTS / "sinkhorn_two_ranks.py"
    command = [sys.executable, str(script), str(tmp_path)]
    subprocess.run(command, env=tiny_run.script_env(GLOO_SOCKET_IFNAME="lo"), check=True)
    for rank in (0, 1):
        expected = golden("sinkhorn", f"two_ranks/{rank}/")
        found = torch.load(tmp_path / f"{rank}.pth")
        for tokens in ("cls", "patch"):
            torch.testing.assert_close(
                found[tokens], expected[f"{tokens}_targets"], rtol=0, atol=1e-9
            )


def test_no_temperature_overflows():
    logits = torch.randn(6, 16, generator=torch.Generator().manual_seed(0)) * 100
    found = sinkhorn_knopp(logits, 0.01).exp()
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(6))


def test_centered_is_the_softmax_of_centred_logits():
    logits, center = torch.randn(2, 3, 8), torch.randn(1, 8)
    expected = functional.log_softmax((logits - center) / 0.05, -1)
    torch.testing.assert_close(centered(logits, center, 0.05), expected)


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize(("case", "targets"), [("ce", "centered"), ("joint", "sinkhorn_knopp")])
def test_loss_of_either_target_equals_the_reference(golden, case, targets, chunk):
    prefix = "dino/ce/" if case == "ce" else "dino/sinkhorn_joint/"
    arrays = golden("dino_targets", prefix)
    k = arrays["teacher"].shape[-1]
    loss = MODELS.build(
        {
            "type": "mmdino.DINOLoss",
            "num_prototypes": k,
            "student_temp": float(arrays["student_temp"]),
            "teacher_temp": float(arrays["teacher_temp"]),
            "targets": targets,
            "chunk": chunk,
        }
    ).double()
    if case == "ce":
        loss.center.copy_(arrays["center"])
    student = arrays["student"].clone().requires_grad_()
    eye, ones = torch.eye(k, dtype=torch.float64), torch.ones(k, 1, dtype=torch.float64)
    logits = LazyLogits(student, eye, ones, torch.float64) if chunk else student
    metrics = loss(logits, arrays["teacher"])
    metrics["loss"].backward()
    torch.testing.assert_close(metrics["loss"], arrays["loss"], rtol=0, atol=1e-9)
    torch.testing.assert_close(student.grad, arrays["student_grad"], rtol=0, atol=1e-9)
    assert loss.needs_center_update == (targets == "centered")


def test_unknown_targets_are_refused():
    with pytest.raises(ValueError, match="targets='sinkhorn'; it must be 'centered' or"):
        MODELS.build({"type": "mmdino.DINOLoss", "targets": "sinkhorn"})

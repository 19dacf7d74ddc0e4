"""The targets of the student are the reference implementations'."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS
from script_process import run_script
from torch.nn import functional

from mmdino.models.layers import LazyLogits
from mmdino.models.losses import targets as targets_module
from mmdino.models.losses.targets import centered, sinkhorn_knopp

CASES = ("cls", "warm", "fewer_samples_than_prototypes", "more_samples", "sharp")
FAMILY = {
    "ce": {},
    "sinkhorn_joint": {"targets": "sinkhorn_knopp"},
    "sinkhorn_per_view": {"targets": "sinkhorn_knopp", "sinkhorn_per_view": True},
}


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
    run_script("sinkhorn_two_ranks.py", tmp_path)
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


@pytest.mark.parametrize("at_once", [1, 24, 100])
def test_a_block_of_samples_at_a_time_gives_the_same(golden, monkeypatch, at_once):
    arrays = golden("sinkhorn", "sharp/")
    monkeypatch.setattr(targets_module, "LOGITS_AT_ONCE", at_once)
    found = sinkhorn_knopp(arrays["logits"], float(arrays["temp"])).exp()
    torch.testing.assert_close(found, arrays["targets_3_iterations"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_assigned_in_single_precision(dtype):
    logits = torch.randn(6, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    found = sinkhorn_knopp(logits, 0.05)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, sinkhorn_knopp(logits.float(), 0.05))


def test_prototypes_far_from_all_samples_are_assigned_as_if_they_were_near():
    """Their totals would be exp(-2000), for which single precision has no number."""
    logits = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    far = logits.clone()
    far[:, 3] -= 100
    found, expected = sinkhorn_knopp(far, 0.05).exp(), sinkhorn_knopp(logits, 0.05).exp()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


def test_no_gradient_flows_through_the_assignment():
    logits = torch.randn(6, 16, requires_grad=True)
    assert not sinkhorn_knopp(logits, 0.05).requires_grad


def test_centered_is_the_softmax_of_centred_logits():
    logits, center = torch.randn(2, 3, 8), torch.randn(1, 8)
    expected = functional.log_softmax((logits - center) / 0.05, -1)
    torch.testing.assert_close(centered(logits, center, 0.05), expected)


def build_loss(arrays, **options):
    """The loss of a case, in float64 and with the centre of the case."""
    loss = MODELS.build(
        {
            "type": "mmdino.DINOLoss",
            "num_prototypes": arrays["teacher"].shape[-1],
            "student_temp": float(arrays["student_temp"]),
            "teacher_temp": float(arrays["teacher_temp"]),
            **options,
        }
    ).double()
    if "center" in arrays:
        loss.center.copy_(arrays["center"])
    return loss


def loss_and_gradient(loss, student, teacher):
    """The loss and its gradient with respect to the student's logits."""
    student = student.clone().requires_grad_()
    k = student.shape[-1]
    eye, ones = torch.eye(k, dtype=student.dtype), torch.ones(k, 1, dtype=student.dtype)
    lazy = LazyLogits(student, eye, ones, student.dtype)
    value = loss(lazy if loss.accepts_lazy_logits else student, teacher)["loss"]
    value.backward()
    return value.detach(), student.grad


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize(("case", "targets"), [("ce", "centered"), ("joint", "sinkhorn_knopp")])
def test_loss_of_either_target_equals_the_reference(golden, case, targets, chunk):
    arrays = golden("dino_targets", "dino/ce/" if case == "ce" else "dino/sinkhorn_joint/")
    loss = build_loss(arrays, targets=targets, chunk=chunk)
    found, gradient = loss_and_gradient(loss, arrays["student"], arrays["teacher"])
    torch.testing.assert_close(found, arrays["loss"], rtol=0, atol=1e-9)
    torch.testing.assert_close(gradient, arrays["student_grad"], rtol=0, atol=1e-9)
    assert loss.needs_center_update == (targets == "centered")


@pytest.mark.parametrize("chunk", [None, 1, 4])
@pytest.mark.parametrize("case", FAMILY)
def test_loss_of_the_ablations_equals_the_formula(golden, case, chunk):
    arrays = golden("family", f"dino/{case}/")
    loss = build_loss(arrays, chunk=chunk, **FAMILY[case])
    found, gradient = loss_and_gradient(loss, arrays["student"], arrays["teacher"])
    torch.testing.assert_close(found, arrays["loss"], rtol=0, atol=1e-9)
    torch.testing.assert_close(gradient, arrays["student_grad"], rtol=0, atol=1e-9)
    assert loss.compares_images == ("sinkhorn" in case)


@pytest.mark.parametrize("chunk", [None, 4])
def test_softmax_is_the_centred_loss_without_a_centre(golden, chunk):
    arrays = golden("family", "dino/ce/")
    loss = build_loss(arrays, targets="softmax", chunk=chunk)
    centred = build_loss({**arrays, "center": torch.zeros(1, 1)}, chunk=chunk)
    found = loss_and_gradient(loss, arrays["student"], arrays["teacher"])
    expected = loss_and_gradient(centred, arrays["student"], arrays["teacher"])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    assert abs(found[0] - arrays["loss"]) > 0.1
    assert not loss.needs_center_update
    assert not loss.compares_images


def test_one_iteration_is_a_softmax_over_the_batch(golden):
    """The two lines of the paper's appendix B."""
    arrays = golden("family", "dino/sinkhorn_joint/")
    scores = arrays["teacher"].flatten(0, 1) / arrays["teacher_temp"]
    codes = scores.softmax(0)
    codes /= codes.sum(1, keepdim=True)
    codes = codes.view_as(arrays["teacher"])
    predictions = (arrays["student"] / arrays["student_temp"]).log_softmax(-1)
    pairs = [(t, s) for t in range(len(codes)) for s in range(len(predictions)) if t != s]
    expected = -sum((codes[t] * predictions[s]).sum(-1).mean() for t, s in pairs) / len(pairs)
    loss = build_loss(arrays, targets="sinkhorn_knopp", sinkhorn_iterations=1)
    found, _ = loss_and_gradient(loss, arrays["student"], arrays["teacher"])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_unknown_targets_are_refused():
    with pytest.raises(ValueError, match=r"targets='sinkhorn'; it must be one of \('centered', "):
        MODELS.build({"type": "mmdino.DINOLoss", "targets": "sinkhorn"})

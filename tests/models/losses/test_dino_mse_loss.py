"""The squared distance of logits, and what it logs."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.registry import MODELS

CASES = {"mse_unit": "unit", "mse_raw": "raw", "mse_probs": "probabilities"}
SPACES = list(CASES.values())


def build(num_prototypes=8, **options):
    cfg = {"type": "mmdino.DINOMSELoss", "num_prototypes": num_prototypes, **options}
    return MODELS.build(cfg)


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_equal_the_formula(golden, case):
    arrays = golden("family", f"dino/{case}/")
    temperatures = {name: float(arrays[name]) for name in ("student_temp", "teacher_temp")}
    loss = build(arrays["teacher"].shape[-1], space=CASES[case], **temperatures).double()
    loss.center.copy_(arrays["center"])
    student = arrays["student"].clone().requires_grad_()
    found = loss(student, arrays["teacher"])["loss"]
    found.backward()
    torch.testing.assert_close(found, arrays["loss"], rtol=0, atol=1e-9)
    torch.testing.assert_close(student.grad, arrays["student_grad"], rtol=0, atol=1e-9)


def test_unit_is_the_default_and_goes_by_the_cosine():
    torch.manual_seed(0)
    loss, student, teacher = build().double(), torch.randn(2, 4, 8), torch.randn(1, 4, 8)
    found = loss(student.double(), teacher.double())["loss"]
    cosine = torch.cosine_similarity(student[1], teacher[0]).double()
    torch.testing.assert_close(found, (2 - 2 * cosine).mean(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("space", SPACES)
def test_center_moves_towards_the_teachers_mean_in_training_alone(space):
    torch.manual_seed(0)
    loss, student, teacher = build(space=space), torch.randn(3, 4, 8), torch.randn(2, 4, 8)
    loss.eval()(student, teacher)
    loss.train()(student, teacher)
    loss.update_center()
    torch.testing.assert_close(loss.center, 0.1 * teacher.mean((0, 1)).unsqueeze(0))
    assert loss.needs_center_update


@pytest.mark.parametrize("space", SPACES)
def test_teacher_gets_no_gradient(space):
    teacher = torch.randn(2, 4, 8, requires_grad=True)
    student = torch.randn(3, 4, 8, requires_grad=True)
    build(space=space)(student, teacher)["loss"].backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 0


def test_distributions_have_the_metrics_of_the_cross_entropy():
    torch.manual_seed(0)
    student, teacher = torch.randn(4, 5, 8), torch.randn(2, 5, 8)
    found = build(space="probabilities")(student, teacher)
    other = MODELS.build({"type": "mmdino.DINOLoss", "num_prototypes": 8})(student, teacher)
    for name in ("teacher_entropy", "entropy_bound", "kl"):
        torch.testing.assert_close(found[name], other[name])
    assert found["entropy_bound"].item() == pytest.approx(math.log(8))


@pytest.mark.parametrize("space", ["unit", "raw"])
def test_spaces_without_distributions_have_no_temperature_and_no_metrics(space):
    loss = build(space=space)
    assert loss(torch.randn(3, 4, 8), torch.randn(2, 4, 8)).keys() == {"loss"}
    # TeacherTempWarmupHook refuses to work on a loss that would not notice.
    assert not hasattr(loss, "current_teacher_temp")


@pytest.mark.parametrize("space", SPACES)
def test_arithmetic_keeps_single_precision_under_autocast(space):
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 4, 64).bfloat16(), torch.randn(2, 4, 64).bfloat16()
    exact = build(64, space=space)(student.float(), teacher.float())["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = build(64, space=space)(student, teacher)["loss"]
    assert torch.equal(mixed, exact)


def test_unknown_space_is_refused():
    with pytest.raises(ValueError, match="space='cosine'; it must be one of"):
        build(space="cosine")


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((1, 4, 8), (1, 4, 8), "DINOMSELoss got 1 student .* at least two views"),
        ((2, 4, 16), (2, 4, 16), "DINOMSELoss has num_prototypes=8"),
        ((8, 8), (2, 4, 8), "DINOMSELoss takes .*views, batch, prototypes"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        build()(torch.zeros(student), torch.zeros(teacher))

"""The loss and its centre are the reference's."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.registry import MODELS

from mmdino.models.layers import LazyLogits
from mmdino.schedules import linear_warmup


def build(num_prototypes=8, **kwargs):
    return MODELS.build({"type": "mmdino.DINOLoss", "num_prototypes": num_prototypes, **kwargs})


def lazy(logits):
    """Logits (V, B, K) that the loss computes itself: the last layer maps them to themselves."""
    k = logits.shape[-1]
    ones = torch.ones(k, 1, dtype=logits.dtype)
    return LazyLogits(logits, torch.eye(k, dtype=logits.dtype), ones, logits.dtype)


@pytest.mark.parametrize("chunk", [None, 1, 3, 64])
@pytest.mark.parametrize("case", ["two_views", "six_views", "ten_views"])
def test_four_calls_equal_the_reference(golden, case, chunk):
    """Loss, gradient and the centre after each call, of given logits and through the last layer."""
    views = int(golden("loss", case)["/views"])
    k = golden("loss", f"{case}/0/")["student"].shape[1]
    loss = build(k, teacher_temp=0.07, chunk=chunk).double()
    for call in range(4):
        expected = golden("loss", f"{case}/{call}/")
        temperature = linear_warmup(int(expected["epoch"]), 3, 0.04, loss.teacher_temp)
        assert temperature == pytest.approx(float(expected["teacher_temp"]), abs=1e-12)
        loss.current_teacher_temp = temperature
        student = expected["student"].clone().requires_grad_()
        logits = student.view(views, -1, k)
        figures = loss(lazy(logits) if chunk else logits, expected["teacher"].view(2, -1, k))
        figures["loss"].backward()
        loss.update_center()
        torch.testing.assert_close(figures["loss"], expected["loss"], rtol=0, atol=1e-9)
        torch.testing.assert_close(student.grad, expected["student_grad"], rtol=0, atol=1e-9)
        torch.testing.assert_close(loss.center, expected["center_after"], rtol=0, atol=1e-9)


def test_center_is_saved_and_pending_logits_are_not():
    assert set(build().state_dict()) == {"center"}


def test_center_pools_the_micro_batches_of_a_step():
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 4, 8), torch.randn(2, 4, 8)
    whole, parts = build(), build()
    whole(student, teacher)
    for part in range(4):
        parts(student[:, part : part + 1], teacher[:, part : part + 1])
    whole.update_center()
    parts.update_center()
    torch.testing.assert_close(parts.center, whole.center)
    assert whole.center.abs().max() > 0


def test_a_skipped_step_leaves_no_trace_in_the_center():
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 4, 8), torch.randn(2, 4, 8)
    skipped, clean = build(), build()
    skipped(student, 100 * teacher)
    skipped.discard_pending()
    for loss in (skipped, clean):
        loss(student, teacher)
        loss.update_center()
    assert torch.equal(skipped.center, clean.center)


def test_evaluation_does_not_touch_the_center():
    loss = build().eval()
    loss(torch.randn(2, 4, 8), torch.ones(2, 4, 8))
    assert loss._pending_count.item() == 0


def test_a_constant_network_has_a_loss_of_ln_k():
    figures = build(64)(torch.zeros(4, 5, 64), torch.zeros(2, 5, 64))
    assert figures["loss"].item() == pytest.approx(math.log(64), rel=1e-6)
    assert figures["ce_over_lnk"].item() == pytest.approx(1, rel=1e-6)
    assert figures["teacher_entropy"].item() == pytest.approx(math.log(64), rel=1e-6)
    assert figures["kl"].item() == pytest.approx(0, abs=1e-5)


def test_figures_are_entropy_and_divergence_of_the_pairs():
    """The divergence is checked pair by pair against torch's own."""
    torch.manual_seed(0)
    loss = build(8).double()
    student, teacher = torch.randn(4, 5, 8).double(), torch.randn(2, 5, 8).double()
    figures = loss(student, teacher)
    targets = (teacher / 0.04).softmax(-1)
    predictions = (student / 0.1).log_softmax(-1)
    pairs = [
        torch.nn.functional.kl_div(predictions[j], targets[i], reduction="batchmean")
        for i in range(2)
        for j in range(4)
        if i != j
    ]
    torch.testing.assert_close(figures["kl"], sum(pairs) / len(pairs))
    entropy = torch.distributions.Categorical(targets).entropy().mean()
    torch.testing.assert_close(figures["teacher_entropy"], entropy)


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("local_weight", [0.5, 0.0])
def test_local_views_may_count_less(chunk, local_weight):
    """The pairs of a global view with the other keep their weight, and metrics are means."""
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4, 8).double(), torch.randn(2, 4, 8).double()
    loss = build(chunk=chunk).double()
    loss.local_weight = local_weight
    found = loss(lazy(student) if chunk else student, teacher)

    targets = (teacher / 0.04).softmax(-1)
    log_probs = (student / 0.1).log_softmax(-1)
    terms = [
        (1.0 if view < 2 else local_weight, -(targets[target] * log_probs[view]).sum(-1).mean())
        for target in range(2)
        for view in range(5)
        if view != target
    ]
    total = sum(weight * term for weight, term in terms)
    mean = total / sum(weight for weight, _ in terms)
    torch.testing.assert_close(found["loss"], total / 8, rtol=0, atol=1e-12)
    torch.testing.assert_close(found["ce_over_lnk"], mean / math.log(8), rtol=0, atol=1e-12)
    expected = mean - found["teacher_entropy"]
    torch.testing.assert_close(found["kl"], expected, rtol=0, atol=1e-12)


def test_used_prototypes_shows_a_collapse_to_one_point():
    same = torch.zeros(2, 4, 8)
    same[..., 3] = 1
    assert build()(torch.zeros(2, 4, 8), same)["used_prototypes"].item() == pytest.approx(1 / 8)
    spread = torch.eye(8).view(2, 4, 8)
    assert build()(torch.zeros(2, 4, 8), spread)["used_prototypes"].item() == 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_softmax_keeps_single_precision_under_autocast(dtype):
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 4, 64), torch.randn(2, 4, 64)
    exact = build(64)(student.to(dtype).float(), teacher.to(dtype).float())["loss"]
    with torch.autocast("cpu", dtype=dtype):
        mixed = build(64)(student.to(dtype), teacher.to(dtype))["loss"]
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, exact)


def test_teacher_gets_no_gradient():
    teacher = torch.randn(2, 4, 8, requires_grad=True)
    student = torch.randn(3, 4, 8, requires_grad=True)
    build()(student, teacher)["loss"].backward()
    assert teacher.grad is None
    assert student.grad is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student_temp": -0.1}, "student_temp=-0.1"),
        ({"teacher_temp": 0.0}, "teacher_temp=0.0"),
        ({"center_momentum": 1.5}, "center_momentum=1.5"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((1, 4, 8), (1, 4, 8), "at least two views"),
        ((2, 4, 8), (3, 4, 8), "at least two views"),
        ((2, 4, 16), (2, 4, 16), "num_prototypes=8"),
        ((8, 8), (2, 4, 8), "views, batch, prototypes"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        build()(torch.zeros(student), torch.zeros(teacher))


class TwoRanks:
    """Stands in for a sum over two ranks that have the same, which is there once waited for."""

    def __init__(self, monkeypatch):
        self.waiting = 0
        monkeypatch.setattr("mmdino.models.losses.centered_loss.get_world_size", lambda: 2)
        monkeypatch.setattr("mmdino.models.losses.centered_loss.all_reduce", lambda x: x.mul_(2))
        monkeypatch.setattr("torch.distributed.all_reduce", self.start)

    def start(self, tensor, async_op):
        assert async_op
        self.waiting += 1
        ranks = self

        class Work:
            def wait(self):
                tensor.mul_(2)
                ranks.waiting -= 1

        return Work()


def test_sum_over_ranks_that_runs_beside_the_backward_pass_is_the_same(monkeypatch):
    ranks = TwoRanks(monkeypatch)
    torch.manual_seed(0)
    losses = build().double(), build().double()
    for step in range(3):
        for micro_batch in range(2):
            student = torch.randn(3, 4, 8, dtype=torch.float64)
            teacher = torch.randn(2, 4, 8, dtype=torch.float64)
            for loss, overlap in zip(losses, (True, False), strict=True):
                loss.last_of_step = overlap and micro_batch == 1
                loss(student, teacher)
        assert ranks.waiting == 1
        for loss in losses:
            loss.discard_pending() if step == 1 else loss.update_center()
        assert ranks.waiting == 0
        torch.testing.assert_close(losses[0].center, losses[1].center, rtol=0, atol=1e-12)
    assert losses[0].center.abs().max() > 0

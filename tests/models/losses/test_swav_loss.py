"""SwAV's loss, codes, gradients and queue are the reference's, on one rank and on two."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext

import pytest
import torch
from mmengine.registry import MODELS
from script_process import run_script
from torch.nn import functional

from mmdino.models.losses.targets import sinkhorn_knopp

CASES = ("two_views", "multi_crop", "queue")


def build(**options):
    sizes = {"num_prototypes": 12, "in_channels": 8}
    return MODELS.build({"type": "mmdino.SwAVLoss", **sizes, **options})


def outputs(views=3, batch=4, width=8, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(views, batch, width, generator=generator, **options)


def prepared(arrays):
    """A loss with the prototypes and the full queue of a case."""
    num_prototypes, width = arrays["prototypes"].shape
    queue = arrays.get("queue")
    length = 0 if queue is None else queue.shape[1]
    loss = build(num_prototypes=num_prototypes, in_channels=width, queue_length=length).double()
    with torch.no_grad():
        loss.prototypes.weight.copy_(arrays["prototypes"])
    if queue is not None:
        loss.queue.features.copy_(queue)
        loss.queue.count.fill_(length)
        loss.queue.queue_started = True
    return loss


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_equal_the_reference(golden, case, mode):
    arrays = golden("family", f"swav/{case}/")
    loss = prepared(arrays).train(mode == "train")
    student = arrays["features"].clone().requires_grad_()
    metrics = loss(student, student[:2])
    metrics["loss"].backward()
    found = {
        "loss": metrics["loss"],
        "features_grad": student.grad,
        "prototypes_grad": loss.prototypes.weight.grad,
    }
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, arrays[name], rtol=0, atol=1e-9, msg=name)


@pytest.mark.parametrize("case", CASES)
def test_codes_equal_the_reference(golden, case):
    arrays = golden("family", f"swav/{case}/")
    log_codes = prepared(arrays)._log_codes(arrays["features"][:2])
    torch.testing.assert_close(log_codes.exp(), arrays["codes"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_sinkhorn_knopp_equals_the_reference(golden, iterations):
    arrays = golden("family", "swav/sinkhorn/")
    found = sinkhorn_knopp(arrays["scores"], 0.05, iterations).exp()
    torch.testing.assert_close(found, arrays[f"codes_{iterations}"], rtol=0, atol=1e-9)


def test_codes_carry_no_gradient():
    student = outputs().requires_grad_()
    teacher = outputs(2, seed=1).requires_grad_()
    build()(student, teacher)["loss"].backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 0


def test_lengths_of_the_outputs_do_not_matter():
    loss, student = build().double(), outputs(dtype=torch.float64)
    expected = loss(student, student[:2])["loss"]
    scaled = student * torch.rand(3, 4, 1, dtype=torch.float64).add(0.5)
    torch.testing.assert_close(loss(scaled, scaled[:2])["loss"], expected)


def test_rows_are_set_to_unit_length_in_training_alone():
    loss = build()
    before = loss.prototypes.weight.detach().clone()
    loss.eval()(outputs(), outputs(2))
    assert torch.equal(loss.prototypes.weight, before)
    loss.train()(outputs(), outputs(2))
    torch.testing.assert_close(loss.prototypes.weight, functional.normalize(before, dim=1))


def test_figures_are_entropy_and_divergence_of_the_codes():
    loss, student = build().double(), outputs(dtype=torch.float64)
    figures = loss(student, student[:2])
    codes = loss._log_codes(student[:2]).exp()
    entropy = torch.distributions.Categorical(codes).entropy().mean()
    torch.testing.assert_close(figures["teacher_entropy"], entropy)
    torch.testing.assert_close(figures["kl"], figures["loss"].detach() - entropy)
    assert figures["entropy_bound"].item() == pytest.approx(math.log(12))
    assert figures["ce_over_lnk"].item() == pytest.approx(figures["loss"].item() / math.log(12))
    assert figures["used_prototypes"].item() == len(codes.argmax(-1).unique()) / 8


@pytest.mark.parametrize("epsilon", [1e-30, 1e-3, 0.05, 1e6])
def test_no_epsilon_overflows(epsilon):
    student = outputs().requires_grad_()
    figures = build(epsilon=epsilon)(student, student[:2])
    figures["loss"].backward()
    assert all(torch.isfinite(value) for value in figures.values())
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_keep_single_precision_under_autocast(dtype):
    loss, student = build(), outputs().to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        found = loss(student, student[:2])["loss"]
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, loss(student.float(), student[:2].float())["loss"])


# The queue.


def started(length=12, **options):
    loss = build(queue_length=length, **options)
    loss.queue.queue_started = True
    return loss


def feed(loss, batches):
    for batch in batches:
        loss(batch, batch[:2])


def newest_first(batches):
    return torch.cat([functional.normalize(batch[:2], dim=-1) for batch in reversed(batches)], 1)


def test_queue_holds_the_last_images_newest_first():
    loss = started()
    batches = [outputs(seed=seed) for seed in range(5)]
    for step in (1, 2, 3, 4, 5):
        feed(loss, batches[step - 1 : step])
        assert loss.queue.count.item() == min(4 * step, 12)
        expected = newest_first(batches[max(step - 3, 0) : step])
        torch.testing.assert_close(loss.queue.features[:, : expected.shape[1]], expected)
        assert not loss.queue.features[:, expected.shape[1] :].any()


def test_queue_is_used_once_it_is_full_and_before_the_batch_enters():
    loss, without = started().double(), build().double()
    without.prototypes.load_state_dict(loss.prototypes.state_dict())
    batches = [outputs(seed=seed, dtype=torch.float64) for seed in range(5)]
    for step, batch in enumerate(batches):
        found = loss(batch, batch[:2])["loss"]
        if step < 3:
            torch.testing.assert_close(found, without(batch, batch[:2])["loss"], rtol=0, atol=1e-12)
            continue
        scores = torch.cat([batch[:2], newest_first(batches[step - 3 : step])], dim=1)
        scores = functional.normalize(scores, dim=-1) @ loss.prototypes.weight.detach().T
        codes = torch.stack([sinkhorn_knopp(view, 0.05).exp()[:4] for view in scores])
        log_probs = (
            functional.normalize(batch, dim=-1) @ loss.prototypes.weight.T / 0.1
        ).log_softmax(-1)
        pairs = [(0, 1), (0, 2), (1, 0), (1, 2)]
        losses = [-(codes[t] * log_probs[s]).sum(-1).mean() for t, s in pairs]
        torch.testing.assert_close(found, sum(losses) / 4)
        assert abs(found - without(batch, batch[:2])["loss"]) > 1e-3


def test_queue_is_neither_filled_nor_used_before_its_start_nor_filled_in_evaluation():
    loss = build(queue_length=12)
    feed(loss, [outputs(seed=seed) for seed in range(4)])
    assert loss.queue.count.item() == 0
    loss.queue.queue_started = True
    loss.eval()(outputs(), outputs(2))
    assert loss.queue.count.item() == 0
    assert not loss.queue.features.any()


@pytest.mark.parametrize("steps", [2, 5])
def test_state_dict_holds_the_queue(steps):
    loss, other = started(), started()
    batches = [outputs(seed=seed) for seed in range(steps + 2)]
    feed(loss, batches[:steps])
    # Full, so that it has to see that what it loads is not.
    feed(other, [outputs(seed=seed) for seed in range(10, 14)])
    state = copy.deepcopy(loss.state_dict())
    assert set(state) == {"prototypes.weight", "queue.features", "queue.count"}
    other.load_state_dict(state)
    for batch in batches[steps:]:
        assert torch.equal(other(batch, batch[:2])["loss"], loss(batch, batch[:2])["loss"])
    for name, tensor in loss.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_a_full_queue_does_not_make_the_host_wait(monkeypatch):
    """Tensors on torch's meta device have no values that the host could read."""
    monkeypatch.setattr("mmdino.models.losses.swav_loss.no_autocast", lambda _: nullcontext())
    loss = started()
    feed(loss, [outputs(seed=seed) for seed in range(4)])
    full, filling = loss.to("meta"), started().to("meta")
    batch = outputs().to("meta")
    full(batch, batch[:2])["loss"].backward()
    with pytest.raises(RuntimeError, match="meta tensors"):
        filling(batch, batch[:2])


def test_without_a_queue_there_are_no_buffers():
    assert set(build().state_dict()) == {"prototypes.weight"}
    assert build().needs == set()
    assert build(queue_length=12).needs == {"queue"}


def test_two_ranks_equal_one_process(tmp_path):
    """Loss, gradients and queue, while it fills and after, with a short last batch."""
    run_script("swav_two_ranks.py", tmp_path)
    alone, *ranks = (torch.load(tmp_path / f"{name}.pth") for name in ("alone", 0, 1))
    assert [row["count"] for row in alone] == [8, 16, 16, 16, 16]
    for row, *halves in zip(alone, *ranks, strict=True):
        loss = sum(half["loss"] for half in halves) / 2
        torch.testing.assert_close(loss, row["loss"], rtol=0, atol=1e-12)
        # DistributedDataParallel averages the gradients of the parameters.
        gradient = sum(half["prototypes_grad"] for half in halves) / 2
        torch.testing.assert_close(gradient, row["prototypes_grad"], rtol=0, atol=1e-12)
        for rank, half in enumerate(halves):
            expected = row["student_grad"][:, rank::2]
            torch.testing.assert_close(half["student_grad"] / 2, expected, rtol=0, atol=1e-12)
            torch.testing.assert_close(half["queue"], row["queue"], rtol=0, atol=1e-12)
            assert half["count"] == row["count"]


# What is refused.


def test_a_queue_shorter_than_the_prototypes_is_refused():
    with pytest.raises(ValueError, match=r"queue_length=11 and num_prototypes=12; .*longer queue"):
        build(queue_length=11)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((3, 4, 16), (2, 4, 16), "in_channels=8, but the head's outputs have shape .3, 4, 16."),
        ((3, 4, 8), (2, 3, 8), r"shape \(2, 3, 8\)"),
        ((1, 4, 8), (1, 4, 8), r"1 view\(s\), 1 of them global; it needs at least two"),
        ((2, 4, 8), (3, 4, 8), r"2 view\(s\), 3 of them global"),
        ((4, 8), (4, 8), r"\(views, batch, channels\)"),
        ((3, 4, 8), (1, 4, 8), "num_global_views=2, but there are 1 global views"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        build(queue_length=12)(torch.randn(student), torch.randn(teacher))


def test_prototypes_that_a_wrapper_shards_are_refused():
    """Such a wrapper puts views of what it has gathered in the place of the parameters."""
    loss = build()
    gathered = loss.prototypes.weight * 1
    del loss.prototypes.weight
    loss.prototypes.weight = gathered
    with pytest.raises(ValueError, match=r"Use strategy=dict.*StudentTeacherFSDPStrategy"):
        loss(outputs(), outputs(2))

"""What the losses of the family have in common: ranks, half precision and refusals."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS
from script_process import run_script

STOPPING = ("BYOLLoss", "SimSiamLoss", "MoCoV3Loss")
COMPARING = ("SimCLRLoss", "BarlowTwinsLoss", "MoCoV3Loss")
LOSSES = sorted({*STOPPING, *COMPARING})


def build(name, **kwargs):
    return MODELS.build({"type": f"mmdino.{name}", **kwargs})


def outputs(num_views=4, batch_size=6, width=8):
    return torch.randn(num_views, batch_size, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Values and gradients of a process alone (key "alone") and of two gloo ranks (0 and 1)."""
    folder = tmp_path_factory.mktemp("ranks")
    run_script("losses_on_two_ranks.py", folder)
    return {name: torch.load(folder / f"{name}.pth") for name in ("alone", 0, 1)}


@pytest.mark.parametrize("num_views", [2, 5])
@pytest.mark.parametrize("name", [*LOSSES, "SimCLRLoss of all pairs"])
def test_two_ranks_equal_one_process_with_the_whole_batch(seen, name, num_views):
    values, gradients = seen["alone"][name, num_views]
    (first, first_gradients), (second, second_gradients) = (
        seen[rank][name, num_views] for rank in (0, 1)
    )
    means = {key: (first[key] + second[key]) / 2 for key in first}
    torch.testing.assert_close(means, values, rtol=0, atol=1e-12)
    torch.testing.assert_close(first_gradients, gradients, rtol=0, atol=1e-12)
    assert first_gradients.keys() == gradients.keys()
    assert all(torch.equal(second_gradients[key], first_gradients[key]) for key in gradients)
    assert max(gradient.abs().max() for gradient in gradients.values()) > 1e-3


def test_barlow_twins_reports_the_loss_of_all_ranks_on_each(seen):
    for num_views in (2, 5):
        values = [seen[rank]["BarlowTwinsLoss", num_views][0] for rank in (0, 1)]
        assert values[0] == values[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_under_autocast_is_computed_in_float32(name, dtype):
    """A batch whose sums of exponentials, or of products, overflow float16."""
    student = outputs(batch_size=600).mul(30).to(dtype).requires_grad_()
    precise = student.detach().float().requires_grad_()
    loss = build(name)
    with torch.autocast("cpu", dtype):
        found = loss(student, student[:2])
    expected = loss(precise, precise[:2])
    assert found["loss"].dtype == torch.float32
    torch.testing.assert_close(found, expected)
    (found["loss"] * 1000).backward()
    (expected["loss"] * 1000).backward()
    torch.testing.assert_close(student.grad, precise.grad.to(dtype), rtol=0.02, atol=1e-5)
    assert student.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_only_the_loss_adds_to_what_is_trained(name):
    """mmengine sums up all entries whose name contains "loss"."""
    found = build(name)(outputs(), outputs()[:2].requires_grad_())
    assert [key for key in found if "loss" in key] == ["loss"]
    assert all(value.shape == () for value in found.values())
    assert not any(value.requires_grad for key, value in found.items() if key != "loss")


@pytest.mark.parametrize("name", LOSSES)
def test_losses_say_whether_they_compare_images(name):
    """What a loss that does not compare them gives for a batch is the mean over its images."""
    assert getattr(build(name), "compares_images", False) is (name in COMPARING)
    z = outputs()
    whole = build(name)(z, z[:2].flip(0))["loss"]
    halves = [build(name)(part, part[:2].flip(0))["loss"] for part in z.split(3, dim=1)]
    assert torch.allclose(torch.stack(halves).mean(), whole) is (name not in COMPARING)


@pytest.mark.parametrize("name", STOPPING)
def test_targets_get_no_gradient(name):
    student, teacher = outputs().requires_grad_(), outputs()[:2].requires_grad_()
    build(name)(student, teacher)["loss"].backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((2, 6), (2, 6), r"student outputs \(views, batch, width\) .* got shapes \(2, 6\)"),
        ((1, 6, 8), (1, 6, 8), "got 1 student and 1 teacher views; it needs at least two views"),
        ((2, 6, 8), (3, 6, 8), "got 2 student and 3 teacher views"),
        ((2, 6, 8), (0, 6, 8), "got 2 student and 0 teacher views"),
        ((2, 6, 8), (2, 5, 8), r"different numbers of images, in shapes \(2, 6, 8\) and \(2, 5, 8"),
        ((2, 6, 8), (2, 6, 4), "width 8 and teacher outputs of width 4: a head that does not fit"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(name, student, teacher, message):
    with pytest.raises(ValueError, match=f"{name} .*{message}"):
        build(name)(torch.zeros(student), torch.zeros(teacher))


@pytest.mark.parametrize("name", COMPARING)
def test_one_image_cannot_be_compared(name):
    message = r"has 1\. Set train_dataloader.batch_size to 2 .* last batch .*drop_last=True\."
    with pytest.raises(ValueError, match=message):
        build(name)(outputs(batch_size=1), outputs(batch_size=1)[:2])

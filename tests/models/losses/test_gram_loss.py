"""Gram anchoring against DINOv3's arrays."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from mmdino.models.losses.gram_loss import resize_patches

OPTIONS = {
    "plain": {},
    "remove_neg": {"clamp": "both"},
    "teacher_neg": {"clamp": "teacher"},
    "raw": {"normalize": False},
}


def build(**options):
    return MODELS.build({"type": "mmdino.GramLoss", **options})


@pytest.mark.parametrize("scope", ["image", "batch"])
@pytest.mark.parametrize("case", OPTIONS)
def test_loss_and_gradient_equal_the_reference(golden, case, scope):
    arrays = golden("dinov2_gram")
    student = arrays["student"].requires_grad_()
    found = build(scope=scope, **OPTIONS[case])(student, arrays["teacher"])["loss"]
    found.backward()
    torch.testing.assert_close(found, arrays[f"{case}/{scope}/loss"], rtol=0, atol=1e-9)
    torch.testing.assert_close(student.grad, arrays[f"{case}/{scope}/grad"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("patches", ["masked", "unmasked"])
def test_loss_of_some_patches_equals_the_reference(golden, patches):
    arrays = golden("dinov2_gram")
    loss = build(scope="batch", patches=patches)
    found = loss(arrays["student"], arrays["teacher"], arrays["masks"])["loss"]
    torch.testing.assert_close(found, arrays[f"{patches}_only/loss"], rtol=0, atol=1e-9)


def test_resized_teacher_equals_the_reference(golden):
    arrays = golden("dinov2_gram", "resize/")
    teacher = resize_patches(arrays["teacher_large"], (6, 6), (3, 3))
    torch.testing.assert_close(teacher, arrays["teacher"], rtol=0, atol=1e-9)
    found = build()(arrays["student"], teacher)["loss"]
    torch.testing.assert_close(found, arrays["loss"], rtol=0, atol=1e-9)


def test_resizing_keeps_rows_and_columns_apart():
    rows = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 6, 2)
    found = resize_patches(rows.reshape(1, 24, 2), (4, 6), (2, 3)).view(1, 2, 3, 2)
    assert torch.equal(found, found[:, :, :1, :1].expand_as(found))
    assert (found[0, 1] > found[0, 0]).all()


def test_no_gradient_flows_to_the_teacher():
    student, teacher = torch.randn(2, 3, 4, 5, requires_grad=True)
    gradients = torch.autograd.grad(
        build()(student, teacher)["loss"], (student, teacher), allow_unused=True
    )
    assert gradients[0] is not None
    assert gradients[1] is None


def test_arithmetic_has_single_precision_under_autocast():
    student, teacher = torch.randn(2, 2, 9, 8, generator=torch.Generator().manual_seed(0))
    expected = build()(student, teacher)["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(build()(student, teacher)["loss"], expected)


@pytest.mark.parametrize("patches", ["masked", "unmasked"])
def test_no_chosen_patch_gives_zero(patches):
    masks = torch.full((2, 3), patches == "unmasked")
    student = torch.randn(2, 3, 4, requires_grad=True)
    found = build(scope="batch", patches=patches)(student, torch.randn(2, 3, 4), masks)["loss"]
    found.backward()
    assert found == 0
    assert torch.equal(student.grad, torch.zeros_like(student))


@pytest.mark.parametrize("shape", [(2, 9, 6), (2, 16, 8), (3, 9, 8), (9, 8)])
def test_a_teacher_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"of the same architecture.*resize its map"):
        build()(torch.zeros(2, 9, 8), torch.zeros(shape))


@pytest.mark.parametrize("masks", [None, torch.ones(2, 4, dtype=torch.bool)])
def test_masks_that_are_needed_are_asked_for(masks):
    with pytest.raises(ValueError, match=r"needs masks of shape \(2, 9\).*mmdino\.BlockMasks"):
        build(scope="batch", patches="masked")(torch.zeros(2, 9, 8), torch.zeros(2, 9, 8), masks)


@pytest.mark.parametrize(
    "options",
    [{"scope": "crop"}, {"clamp": "student"}, {"patches": "some"}, {"patches": "masked"}],
)
def test_unknown_options_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"GramLoss got {name}={value!r}"):
        build(**options)


def test_a_grid_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="not those of a grid of 3 x 5 patches"):
        resize_patches(torch.zeros(2, 16, 8), (3, 5), (2, 2))

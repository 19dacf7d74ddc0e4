"""The loss of masked patches against the released code's, from logits and fused."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.registry import MODELS
from torch.nn import functional

from mmdino.models.layers import LazyLogits, WeightNormLinear
from mmdino.models.losses import prototype_loss
from mmdino.models.losses.ibot_loss import masked_patch_weights
from mmdino.models.losses.prototype_cross_entropy import prototype_cross_entropy

CHUNKS = [None, 1, 4, 256]
CASES = ("half", "all", "one")


def build(num_prototypes, dtype=torch.float64, **options):
    loss = {"type": "mmdino.IBOTLoss", "num_prototypes": num_prototypes, **options}
    return MODELS.build(loss).to(dtype)


def weights_of(arrays):
    return masked_patch_weights(arrays["masks"], arrays["mask_indices"])


def teacher_logits_for(targets, temperature=0.04):
    """Logits whose softmax at a temperature is ``targets``, without a centre."""
    return temperature * targets.log()


def lazy(logits):
    """Logits that a last layer of the identity matrix gives."""
    k = logits.shape[-1]
    eye, ones = torch.eye(k, dtype=logits.dtype), torch.ones(k, 1, dtype=logits.dtype)
    return LazyLogits(logits, eye, ones, logits.dtype)


@pytest.mark.parametrize(
    ("topic", "case"),
    [
        *(("dinov2_ibot", case) for case in CASES),
        *(("dinov2_masking", case) for case in ("batch", "odd", "small_prob")),
    ],
)
def test_weights_equal_the_reference(golden, topic, case):
    arrays = golden(topic, f"{case}/")
    assert torch.equal(arrays["masks"].flatten().nonzero().squeeze(1), arrays["mask_indices"])
    expected = arrays["masks_weight"] / len(arrays["masks"])
    torch.testing.assert_close(weights_of(arrays), expected, rtol=0, atol=1e-12)
    by_view = arrays["masks"].unflatten(0, (2, -1))
    assert torch.equal(masked_patch_weights(by_view, arrays["mask_indices"]), weights_of(arrays))


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient_equal_the_reference(golden, case, chunk):
    arrays = golden("dinov2_ibot", f"{case}/")
    student = arrays["student_logits"].requires_grad_()
    weights = weights_of(arrays)
    loss = build(student.shape[1], student_temp=float(arrays["student_temp"]), chunk=chunk)
    teacher_logits = teacher_logits_for(arrays["teacher_targets"])
    found = loss(student if chunk is None else lazy(student), teacher_logits, weights)
    found["loss"].backward()
    for expected in ("loss", "loss_default_weight", "loss_dense"):
        torch.testing.assert_close(found["loss"], arrays[expected], rtol=0, atol=1e-9)
    torch.testing.assert_close(student.grad, arrays["student_grad"], rtol=0, atol=1e-9)
    assert not teacher_logits.requires_grad


@pytest.mark.parametrize("case", ["cls", "warm", "sharp", "more_samples"])
def test_sinkhorn_targets_equal_the_reference(golden, case):
    """The gradient with respect to a logit of 0 is (1 / K - target) / temperature."""
    arrays = golden("sinkhorn", f"{case}/")
    logits = arrays["logits"]
    student = torch.zeros_like(logits, requires_grad=True)
    loss = build(logits.shape[1], targets="sinkhorn_knopp", teacher_temp=float(arrays["temp"]))
    loss(lazy(student), logits, torch.ones(len(logits), dtype=logits.dtype))["loss"].backward()
    found = 1 / logits.shape[1] - student.grad * loss.student_temp
    torch.testing.assert_close(found, arrays["patch_targets"], rtol=0, atol=1e-9)
    assert loss.compares_images
    assert not loss.needs_center_update


def test_a_single_sample_of_sinkhorn_knopp_is_uniform_and_said_once(monkeypatch):
    logged = []
    monkeypatch.setattr(prototype_loss, "print_log", lambda text, **options: logged.append(text))
    loss, logits = build(16, targets="sinkhorn_knopp"), torch.randn(2, 16, dtype=torch.float64)
    loss(lazy(logits), logits, torch.ones(2))
    assert not logged
    for _ in range(2):
        found = loss(lazy(logits[:1]), logits[:1], torch.ones(1))
    assert found["teacher_entropy"].item() == pytest.approx(math.log(16))
    (text,) = logged
    assert "larger train_dataloader.batch_size" in text


@pytest.mark.parametrize("tokens", ["cls", "patch"])
def test_centres_of_class_and_patches_equal_the_reference(golden, tokens):
    """Four calls, with different numbers of masked patches."""
    arrays = golden("sinkhorn", "centre/")
    name = "DINOLoss" if tokens == "cls" else "IBOTLoss"
    loss = MODELS.build(
        {
            "type": f"mmdino.{name}",
            "num_prototypes": 16,
            "teacher_temp": float(arrays["temp"]),
            "center_momentum": float(arrays["momentum"]),
        }
    ).double()
    for call in range(4):
        logits = arrays[f"{call}/{tokens}_logits"]
        used = arrays[f"{call}/{tokens}_centre_used"]
        torch.testing.assert_close(loss.center, used, rtol=0, atol=1e-9)
        targets = loss.log_targets(logits.unsqueeze(0))(slice(None))[0].exp()
        torch.testing.assert_close(targets, arrays[f"{call}/{tokens}_targets"], rtol=0, atol=1e-9)
        if tokens == "cls":
            loss(torch.randn(2, 3, 16).double(), logits.unflatten(0, (2, 3)))
        else:
            loss(lazy(torch.randn_like(logits)), logits, torch.ones(len(logits)))
        loss.update_center()
    torch.testing.assert_close(loss.center, arrays[f"{tokens}_centre_end"], rtol=0, atol=1e-9)


def test_centre_of_micro_batches_is_that_of_the_batch():
    """Each masked patch of a rank counts the same, in whichever micro-batch."""
    logits = torch.randn(9, 16, dtype=torch.float64)
    whole, parts = build(16), build(16)
    for loss, batches in ((whole, [logits]), (parts, logits.split((6, 0, 3)))):
        for batch in batches:
            loss(lazy(torch.zeros_like(batch)), batch, torch.ones(len(batch)))
        loss.update_center()
    torch.testing.assert_close(parts.center, whole.center, rtol=0, atol=1e-12)
    torch.testing.assert_close(whole.center, 0.1 * logits.mean(0, keepdim=True))


def layer_and_features(count, k=24, width=6):
    torch.manual_seed(count)
    layer = WeightNormLinear(width, k, train_gain=True).double()
    features = functional.normalize(torch.randn(count, width).double(), dim=-1)
    return layer, features.requires_grad_(), torch.randn(count, k).double()


@pytest.mark.parametrize("targets", ["centered", "sinkhorn_knopp", "softmax"])
@pytest.mark.parametrize("count", [1, 9])
def test_fused_and_plain_losses_agree(targets, count):
    layer, features, teacher_logits = layer_and_features(count)
    weights = torch.rand(count, dtype=torch.float64)
    found = []
    for chunk in (None, 4):
        loss = build(24, targets=targets, chunk=chunk)
        logits = layer(features) if chunk is None else layer.lazy(features)
        figures = loss(logits, teacher_logits, weights)
        inputs = (features, layer.weight_v, layer.weight_g)
        gradients = torch.autograd.grad(3 * figures["loss"], inputs)
        found.append(({name: value.detach() for name, value in figures.items()}, gradients))
    torch.testing.assert_close(*found, rtol=0, atol=1e-9)


@pytest.mark.parametrize("targets", ["centered", "sinkhorn_knopp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("chunk", [None, 4])
def test_without_masked_patches_the_loss_is_zero_and_all_parameters_have_gradients(
    targets, dtype, chunk
):
    layer = WeightNormLinear(6, 24, train_gain=True)
    features, teacher_logits = torch.zeros(0, 6, requires_grad=True), torch.zeros(0, 24)
    loss = build(24, torch.float32, targets=targets, chunk=chunk)
    if chunk is None:
        logits = layer(features)
    else:
        logits = LazyLogits(features, layer.weight_v, layer.weight_g, dtype)
    found = loss(logits, teacher_logits, torch.zeros(0))
    found["loss"].backward()
    assert all(value == 0 for value in found.values())
    for parameter in layer.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))
    if loss.needs_center_update:
        loss.center.fill_(0.5)
        loss.update_center()
        assert (loss.center == 0.5).all()


def test_one_function_serves_class_tokens_and_patches():
    """Class tokens: the mean over images; patches: rows with weights. Together one last layer."""
    layer, features, teacher_logits = layer_and_features(8)
    log_targets = functional.log_softmax(teacher_logits.unflatten(0, (2, 4)) / 0.04, -1)
    student = layer.lazy(features).unflatten(0, (2, 4))
    pairs = [(0, 1), (1, 0)]
    expected, *_ = prototype_cross_entropy(student, lambda i: log_targets[:, i], pairs, 0.1, 3)
    swapped = log_targets.flip(0).flatten(0, 1).unsqueeze(0)
    loss = build(24, targets="softmax", chunk=3)
    weights = torch.full((8,), 1 / 8).double()
    found = loss(layer.lazy(features), 0.04 * swapped[0], weights)["loss"]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_float16_keeps_the_gradients_of_small_weights():
    """1 / (K V masked patches) is no number in float16."""
    torch.manual_seed(0)
    size, count = 2**14, 6
    layer = WeightNormLinear(8, size, train_gain=False)
    features = functional.normalize(torch.randn(count, 8), dim=-1).requires_grad_()
    teacher_logits, weights = torch.randn(count, size), torch.full((count,), 1e-5)
    grads = []
    for dtype in (torch.float16, torch.float32):
        student = LazyLogits(features, layer.weight_v, layer.weight_g, dtype)
        value = build(size, torch.float32)(student, teacher_logits, weights)["loss"]
        grads.append(torch.autograd.grad(2.0**16 * value, layer.weight_v)[0])
    assert (grads[0] - grads[1]).norm() < 0.01 * grads[1].norm()


@pytest.mark.parametrize("chunk", [None, 4])
def test_a_constant_output_has_the_start_value_of_half_the_crops(chunk):
    """ln K / 2 with half of the crops masked: 2.77 at K = 65536, of which the log shows half."""
    k = 32
    masks = torch.zeros(4, 9, dtype=torch.bool)
    masks[1, :3], masks[2, 4:6] = True, True
    weights = masked_patch_weights(masks, masks.flatten().nonzero().squeeze(1))
    student = torch.zeros(5, k, dtype=torch.float64)
    found = build(k, chunk=chunk)(student if chunk is None else lazy(student), student, weights)
    assert found["loss"].item() == pytest.approx(math.log(k) / 2)
    assert found["ce_over_lnk"].item() == pytest.approx(1)
    assert found["teacher_entropy"].item() == pytest.approx(math.log(k))


@pytest.mark.parametrize(
    ("student", "teacher", "weights"),
    [((3, 8), (3, 9), (3,)), ((4, 8), (3, 8), (3,)), ((3, 8), (3, 8), (3, 1))],
)
def test_shapes_that_do_not_fit_are_refused(student, teacher, weights):
    with pytest.raises(ValueError, match="IBOTLoss has num_prototypes=8"):
        build(8)(torch.zeros(student), torch.zeros(teacher), torch.zeros(weights))

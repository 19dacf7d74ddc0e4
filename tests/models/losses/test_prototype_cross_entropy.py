"""Last layer and loss in one give what they give one after the other."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.registry import MODELS
from torch.nn import functional

from mmdino.models.layers import LazyLogits, PlainLinear, WeightNormLinear

FIGURES = ("loss", "ce_over_lnk", "teacher_entropy", "kl", "used_prototypes")
K, D = 48, 12


def case(views, num_globals, batch_size, train_gain=False, dtype=torch.float64):
    """Layer, features and teacher logits, the latter away from a centre of 0."""
    torch.manual_seed(views + batch_size)
    layer = WeightNormLinear(D, K, train_gain).to(dtype)
    with torch.no_grad():
        layer.weight_g.uniform_(0.5, 2)
    features = functional.normalize(torch.randn(views, batch_size, D, dtype=dtype), dim=-1)
    teacher_logits = torch.randn(num_globals, batch_size, K, dtype=dtype) * 0.3 + 0.2
    return layer, features.requires_grad_(), teacher_logits


def build(chunk, dtype=torch.float64, **options):
    loss = MODELS.build({"type": "mmdino.DINOLoss", "num_prototypes": K, "chunk": chunk, **options})
    loss.center.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(5))
    return loss.to(dtype)


def run(chunk, layer, features, teacher_logits, autocast=None, scale=1.0, local_weight=1.0):
    """Figures, gradients by name, and the centre after the step."""
    layer, features = copy.deepcopy(layer), features.detach().clone().requires_grad_()
    loss = build(chunk, features.dtype)
    loss.local_weight = local_weight
    with torch.autocast("cpu", dtype=autocast, enabled=autocast is not None):
        student = layer(features) if chunk is None else layer.lazy(features)
        figures = loss(student, teacher_logits)
    (scale * figures["loss"]).backward()
    grads = {name: p.grad for name, p in layer.named_parameters() if p.requires_grad}
    loss.update_center()
    return figures, {**grads, "features": features.grad}, loss.center


@pytest.mark.parametrize("chunk", [1, 2, 3, 64])
@pytest.mark.parametrize(
    ("views", "num_globals", "batch_size"),
    [(2, 2, 3), (6, 2, 5), (10, 2, 4), (4, 1, 3), (5, 3, 2), (2, 1, 1), (3, 3, 2)],
)
@pytest.mark.parametrize("train_gain", [True, False])
def test_values_and_gradients_are_those_of_all_logits(
    views, num_globals, batch_size, chunk, train_gain
):
    inputs = case(views, num_globals, batch_size, train_gain)
    plain, fused = run(None, *inputs, scale=3.0), run(chunk, *inputs, scale=3.0)
    for name in FIGURES:
        torch.testing.assert_close(fused[0][name], plain[0][name], rtol=0, atol=1e-9)
    assert fused[1].keys() == plain[1].keys()
    for name, gradient in plain[1].items():
        torch.testing.assert_close(fused[1][name], gradient, rtol=0, atol=1e-9)
    assert torch.equal(fused[2], plain[2])


@pytest.mark.parametrize("chunk", [1, 2, 64])
@pytest.mark.parametrize("local_weight", [1.0, 0.5, 0.0])
def test_plain_layer_and_weighted_local_views_are_those_of_all_logits(chunk, local_weight):
    _, features, teacher_logits = case(6, 2, 5)
    inputs = (PlainLinear(D, K).double(), features, teacher_logits)
    plain, fused = (run(c, *inputs, scale=3.0, local_weight=local_weight) for c in (None, chunk))
    for name in FIGURES:
        torch.testing.assert_close(fused[0][name], plain[0][name], rtol=0, atol=1e-12)
    assert plain[1].keys() == {"weight", "features"}
    torch.testing.assert_close(fused[1], plain[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_it_differs_by_rounding_only(dtype):
    """Both round the same logits; the gradients are rounded before different scalings."""
    inputs = case(6, 2, 8, dtype=torch.float32)
    exact = run(None, *inputs)
    plain, fused = (run(chunk, *inputs, autocast=dtype, scale=64.0) for chunk in (None, 3))
    for name in FIGURES:
        torch.testing.assert_close(fused[0][name], plain[0][name], rtol=1e-6, atol=1e-6)
    for name, gradient in exact[1].items():
        assert fused[1][name].dtype == torch.float32
        largest = gradient.abs().max()
        error, plain_error = (
            (grads[1][name] / 64 - gradient).abs().max() / largest for grads in (fused, plain)
        )
        assert error < max(1.5 * plain_error, torch.finfo(dtype).eps)


def test_float16_keeps_the_small_gradients_of_many_prototypes():
    """1/K is hardly a number in float16, and the loss is scaled only in the backward pass."""
    torch.manual_seed(0)
    size = 2**16
    layer = WeightNormLinear(8, size, train_gain=False)
    features = functional.normalize(torch.randn(4, 2, 8), dim=-1).requires_grad_()
    teacher_logits = torch.randn(2, 2, size)
    grads = []
    for dtype in (torch.float16, torch.float32):
        loss = MODELS.build({"type": "mmdino.DINOLoss", "num_prototypes": size})
        student = LazyLogits(features, layer.weight_v, layer.weight_g, dtype)
        value = loss(student, teacher_logits)["loss"]
        grads.append(torch.autograd.grad(2.0**16 * value, layer.weight_v)[0])
    assert (grads[0] - grads[1]).norm() < 0.01 * grads[1].norm()


def test_a_second_backward_pass_is_refused():
    layer, features, teacher_logits = case(4, 2, 3)
    student = layer.lazy(features)
    value = build(2)(student, teacher_logits)["loss"]
    value.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="chunk=None"):
        value.backward()


def test_evaluation_computes_no_gradient():
    layer, features, teacher_logits = case(4, 2, 3)
    student = layer.lazy(features)
    with torch.no_grad():
        value = build(2).eval()(student, teacher_logits)["loss"]
    assert not value.requires_grad
    torch.testing.assert_close(value, build(None)(layer(features), teacher_logits)["loss"])


def test_shapes_that_do_not_fit_are_refused():
    layer, features, teacher_logits = case(4, 2, 3)
    student = layer.lazy(features)
    with pytest.raises(ValueError, match=f"num_prototypes={K}"):
        build(2)(student, teacher_logits[..., :-1])


@pytest.mark.parametrize("chunk", [0, -1])
def test_chunk_must_be_positive(chunk):
    with pytest.raises(ValueError, match=f"chunk={chunk}"):
        build(chunk)

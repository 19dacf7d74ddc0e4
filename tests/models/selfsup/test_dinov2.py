"""DINOv2's terms. tests/engine/test_golden_dinov2_run.py compares whole runs with the authors'."""

from __future__ import annotations

import math

import pytest
import tiny_dinov2
import tiny_methods
import tiny_run
import torch
from mmengine.registry import MODELS
from torch import nn

from mmdino.models.selfsup.dinov2 import dino_scale

HEAD = tiny_dinov2.model()["head"]


def build(**options):
    torch.manual_seed(0)
    model = MODELS.build(tiny_dinov2.model(**options))
    model.init_weights()
    for need in model.needs:
        model.mark_met(need)
    return model.double().train()


def gradients(model, batch):
    """Metrics and gradients of a micro-batch."""
    metrics = model(**batch, mode="loss")
    metrics["loss"].backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in metrics.items()}, grads


def assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


def test_the_terms_with_their_weights_are_the_loss():
    metrics, _ = gradients(build(ibot_weight=0.7, koleo_weight=0.2), tiny_dinov2.batch())
    terms = [metrics[name] for name in ("dino", "ibot", "koleo")]
    assert_equal(sum(terms), metrics["loss"])
    doubled, _ = gradients(build(ibot_weight=1.4, koleo_weight=0.4), tiny_dinov2.batch())
    assert_equal(
        [doubled[n] for n in ("dino", "ibot", "koleo")], [terms[0], *(2 * t for t in terms[1:])]
    )


def test_start_is_that_of_a_constant_output():
    """ln K for class tokens, of both terms, and ln K / 2 for patches, as in the authors' runs."""
    model = build(koleo_weight=0)
    for head in (model.head, model.teacher["head"]):
        nn.init.zeros_(head.last_layer.weight_g)
    metrics, _ = gradients(model, tiny_dinov2.batch())
    assert metrics["dino"].item() == pytest.approx(math.log(32))
    assert metrics["ibot"].item() == pytest.approx(math.log(32) / 2)
    assert "koleo" not in metrics


@pytest.mark.parametrize(("num_local", "scale"), [(0, 2 / 3), (1, 1), (8, 1)])
def test_class_terms_have_the_authors_divisor(num_local, scale):
    assert dino_scale(2, num_local) == pytest.approx(scale)


def test_without_other_terms_and_masks_it_is_dino():
    batch = tiny_dinov2.batch(masked=0)
    model = build(ibot_weight=0, koleo_weight=0)
    assert model.needs == {"teacher", "center"}
    cfg = tiny_dinov2.model() | {"type": "mmdino.DINO"}
    dino = MODELS.build(cfg).double().train()
    dino.load_state_dict(model.state_dict())
    for need in dino.needs:
        dino.mark_met(need)
    found, grads = gradients(model, batch)
    loss = dino(batch["inputs"], mode="loss")["loss"]
    loss.backward()
    assert_equal(found["loss"], loss.detach())
    for name, parameter in dino.named_parameters():
        if parameter.grad is not None:
            assert_equal(grads[name], parameter.grad)


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
@pytest.mark.parametrize("targets", ["centered", "sinkhorn_knopp"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(micro_batch, targets):
    options = {"loss": {"targets": targets}, "ibot": {"targets": targets}}
    expected = gradients(build(**options), tiny_dinov2.batch())
    assert_equal(
        gradients(build(micro_batch=micro_batch, **options), tiny_dinov2.batch()), expected
    )


@pytest.mark.parametrize("ibot_weight", [0, 1])
def test_backbones_that_cannot_choose_patches_give_the_same_loss(ibot_weight, monkeypatch):
    expected = gradients(build(ibot_weight=ibot_weight), tiny_dinov2.batch())
    model = build(ibot_weight=ibot_weight)
    monkeypatch.setattr(type(model.backbone), "chooses_patches", False)
    assert_equal(gradients(model, tiny_dinov2.batch()), expected)


def test_patches_may_have_a_head_of_their_own():
    patch_head = {**HEAD, "out_channels": 20}
    model = build(patch_head=patch_head)
    assert model.ibot_loss.num_prototypes == 20
    assert set(model.teacher) == {"backbone", "head", "patch_head"}
    _, grads = gradients(model, tiny_dinov2.batch())
    assert grads["patch_head.last_layer.weight_v"].abs().sum() > 0
    teacher, student = model.teacher_pairs()
    assert len(teacher) == len(student) == sum(1 for _ in model.teacher.parameters())


def test_teachers_backbone_stays_in_eval_mode():
    assert not any(module.training for module in build().teacher["backbone"].modules())


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"masks": None}, {}, r"a batch without masks\. Set .*collate_fn=dict\(type='mmdino.Block"),
        ({"masks": torch.zeros(2, 4, 9, dtype=torch.bool)}, {}, r"\(2, 4, 9\), .* \(2, 4, 16\)"),
        ({}, {"ibot_weight": -1}, "ibot_weight=-1"),
        ({}, {"patch_head": {"out_channels": 20}}, "patch_head=.*without a type"),
        ({}, {"teacher": "student"}, r"Leave teacher out.*model\.frozen_teacher"),
        ({}, {"predictor": HEAD}, "Leave predictor out"),
        ({}, {"head": {**HEAD, "in_channels": 13}}, r"\(12,\), but the head has in_channels=13"),
        ({}, {"patch_head": {**HEAD, "in_channels": 13}}, "but the patch_head has in_channels=13"),
    ],
)
def test_what_does_not_fit_is_refused(changes, options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)(**tiny_dinov2.batch() | changes, mode="loss")


def test_a_backbone_without_patches_is_refused():
    backbone = tiny_dinov2.model()["backbone"]
    model = build(backbone={**backbone, "out_type": "cls_token"})
    with pytest.raises(ValueError, match=r"Set model\.backbone\.out_type='features'"):
        model(**tiny_dinov2.batch(), mode="loss")


@pytest.mark.parametrize("method", [tiny_run.vit_model(), tiny_methods.method("simclr")])
def test_masks_for_a_method_without_any_are_refused(method):
    model = MODELS.build(method).eval()
    message = r"got a batch with masks, mask_indices, which it does not use\. .*mmdino\.DINOv2"
    with pytest.raises(ValueError, match=message):
        model(**tiny_dinov2.batch(), mode="loss")


def test_batch_norm_of_the_teachers_head_sees_its_own_forward_passes():
    """As in DINO; the moving average takes parameters alone, not these statistics."""
    head = {**tiny_dinov2.model()["head"], "use_bn": True}
    model = build(head=head)
    before = {name: buffer.clone() for name, buffer in model.teacher["head"].named_buffers()}
    assert before
    model(**tiny_dinov2.batch(), mode="loss")
    for name, buffer in model.teacher["head"].named_buffers():
        assert not torch.equal(buffer, before[name]), name


@pytest.mark.parametrize("gram", [None, {"teacher": {}}])
def test_compiled_backbones_of_all_teachers_change_no_figure(gram):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    plain, compiled = build(gram=gram), build(gram=gram, compile={"backend": backend})
    found, expected = (gradients(model, tiny_dinov2.batch()) for model in (compiled, plain))
    assert graphs
    assert_equal(found, expected)

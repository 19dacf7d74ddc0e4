"""DINOv2 from a frozen larger teacher, against plain formulas, and what it refuses."""

from __future__ import annotations

import itertools

import pytest
import tiny_dinov2
import torch
from mmengine.registry import MODELS
from torch.nn import functional

PATCH_HEAD = {**tiny_dinov2.model()["head"], "out_channels": 20}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The file of a teacher, and the model that it is of."""
    path = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    return path, tiny_dinov2.write_teacher(path)


def build(path, **options):
    torch.manual_seed(0)
    model = MODELS.build(tiny_dinov2.distillation(path, **options))
    model.init_weights()
    for need in model.needs:
        model.mark_met(need)
    return model.double().train()


def without_masks():
    return {"inputs": tiny_dinov2.batch()["inputs"]}


def cross_entropy(targets, logits):
    return -(targets * functional.log_softmax(logits / 0.1, -1)).sum(-1)


@pytest.mark.parametrize("with_masks", [False, True])
def test_loss_is_the_plain_formula(teacher, with_masks):
    """The teacher's softmax as targets, no view masked, all patches or those of the masks."""
    path, source = teacher
    softmax = {"targets": "softmax", "teacher_temp": 0.07}
    model = build(path, loss=softmax, ibot=softmax)
    batch = tiny_dinov2.batch() if with_masks else without_masks()
    views = batch["inputs"]
    source = source.teacher.double().eval()

    def outputs(network, head, images):
        (found,) = network(images)
        return found, head(found.cls), head(found.patches.flatten(0, 1))

    with torch.no_grad():
        taught = [outputs(source["backbone"], source["head"], view) for view in views[:2]]
    targets = [(logits / 0.07).softmax(-1) for _, logits, _ in taught]
    seen = [outputs(model.backbone, model.head, view) for view in views]
    # Two global terms, each over T = 2 + 2 N, and the local ones: the other crop only.
    pairs = [(t, s) for t, s in itertools.product(range(2), range(4)) if t != s]
    dino = sum(cross_entropy(targets[t], seen[s][1]).mean() for t, s in pairs) / len(pairs)
    chosen = torch.ones(2, 4, 16) if not with_masks else batch["masks"].double()
    ibot = 0.0
    for crop, mask in enumerate(chosen):
        entropies = cross_entropy((taught[crop][2] / 0.07).softmax(-1), seen[crop][2])
        weights = mask / mask.sum(-1, keepdim=True).clamp_min(1) / (2 * 4)
        ibot = ibot + (entropies * weights.flatten()).sum()
    koleo = 0.0
    for found, _, _ in seen[:2]:
        x = functional.normalize(found.cls, dim=-1)
        similarity = (x @ x.T).detach().fill_diagonal_(-2)
        distance = (x - x[similarity.argmax(-1)] + 1e-8).norm(dim=-1)
        koleo = koleo - (distance + 1e-8).log().mean()
    expected = {"dino": dino, "ibot": ibot, "koleo": 0.1 * koleo}
    expected["loss"] = sum(expected.values())
    found = model(**batch, mode="loss")
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-9, msg=name)
    parameters = [*model.backbone.parameters(), *model.head.parameters()]
    for own, plain in zip(
        torch.autograd.grad(found["loss"], parameters),
        torch.autograd.grad(expected["loss"], parameters),
        strict=True,
    ):
        torch.testing.assert_close(own, plain, rtol=0, atol=1e-9)


def test_every_parameter_that_wrappers_see_gets_a_gradient_and_no_other_is_seen(teacher):
    model = build(teacher[0])
    model(**without_masks(), mode="loss")["loss"].backward()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(model.get_parameter(name).grad is not None for name in trained)
    assert not any("frozen" in name for name, _ in model.named_parameters())
    assert [name for name in model.state_dict() if "frozen" in name] == ["frozen_teacher.sha256"]
    frozen = model.frozen_teacher.network
    assert not any(p.requires_grad for p in frozen.parameters())
    assert not any(module.training for module in frozen.modules())


def test_the_moving_average_is_the_student_s_and_changes_no_loss(teacher):
    model = build(teacher[0])
    before = model(**without_masks(), mode="loss")["loss"]
    for parameter in model.teacher.parameters():
        parameter.data.normal_()
    assert torch.equal(model(**without_masks(), mode="loss")["loss"], before)
    assert "teacher" in model.needs
    images = without_masks()["inputs"][0]
    (expected,) = model.teacher["backbone"](images)
    assert torch.equal(model.extract_feat(images), expected.cls)


def test_patches_may_have_a_head_of_their_own(tmp_path):
    path = tmp_path / "teacher.pth"
    tiny_dinov2.write_teacher(path, patch_head={**PATCH_HEAD, "in_channels": 20})
    frozen = tiny_dinov2.frozen_teacher(path, patch_head={**PATCH_HEAD, "in_channels": 20})
    model = build(path, patch_head=PATCH_HEAD, frozen_teacher=frozen)
    found = model(**without_masks(), mode="loss")
    (tokens,) = model.frozen_teacher.network["backbone"](without_masks()["inputs"][0])
    assert model.frozen_teacher.network["patch_head"](tokens.patches).shape == (4, 16, 20)
    assert found["ibot"] > 0


def test_micro_batches_give_the_loss_of_the_whole_batch(teacher):
    losses = [
        build(teacher[0], micro_batch=size)(**without_masks(), mode="loss")["loss"]
        for size in (1, None)
    ]
    torch.testing.assert_close(*losses, rtol=0, atol=1e-11)


def changed(part, **options):
    """The config of the teacher with another entry of a part."""
    return {part: {**tiny_dinov2.larger()[part], **options}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": None}, "has backbone, head; it needs backbone, head, checkpoint"),
        ({"checkpoint": 3}, r"checkpoint=3, but a frozen network is never trained"),
        ({"head": None}, "it needs backbone, head, checkpoint"),
        ({"patch_head": PATCH_HEAD}, "has backbone, checkpoint, head, patch_head; it needs"),
        ({"heads": PATCH_HEAD}, "has backbone, checkpoint, head, heads; it needs"),
        (changed("head", out_channels=33), r"out_channels=32, .* 33\. .*out_channels=33"),
        (changed("backbone", patch_size=16), r"model\.ibot_weight=0"),
        (changed("backbone", out_type="cls_token"), r"frozen_teacher\.backbone\.out_type='feat"),
        (changed("backbone", in_channels=1), "takes 1"),
        (changed("backbone", init_cfg={"type": "Pretrained"}), "Leave init_cfg out"),
    ],
)
def test_a_teacher_that_does_not_go_with_the_student_is_refused(changes, message):
    frozen = {**tiny_dinov2.frozen_teacher("teacher.pth"), **changes}
    with pytest.raises(ValueError, match=message):
        MODELS.build(tiny_dinov2.distillation("teacher.pth", frozen_teacher=frozen))


def test_a_student_with_a_mask_token_is_refused():
    cfg = tiny_dinov2.model(frozen_teacher=tiny_dinov2.frozen_teacher("teacher.pth"))
    with pytest.raises(ValueError, match=r"Set model\.backbone\.mask_token=False"):
        MODELS.build(cfg)


def test_patches_of_another_size_do_without_the_loss_of_patches(tmp_path):
    path = tmp_path / "teacher.pth"
    coarse = changed("backbone", patch_size=16)
    tiny_dinov2.write_teacher(path, **coarse)
    frozen = tiny_dinov2.frozen_teacher(path, **coarse)
    model = build(path, frozen_teacher=frozen, ibot_weight=0)
    assert model(**without_masks(), mode="loss")["loss"] > 0


def test_masks_of_other_views_are_refused(teacher):
    masks = torch.ones(2, 4, 9, dtype=torch.bool)
    batch = {**without_masks(), "masks": masks, "mask_indices": torch.arange(72)}
    with pytest.raises(ValueError, match=r"\(2, 4, 9\), .* \(2, 4, 16\)"):
        build(teacher[0])(**batch, mode="loss")


def test_gram_teacher_of_moving_averages_is_refused(teacher):
    with pytest.raises(ValueError, match=r"frozen_teacher and gram.*model\.gram\.teacher=dict"):
        build(teacher[0], gram={"teacher": "ema"})


def test_frozen_backbone_is_compiled_with_the_others(teacher):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append({tuple(x.shape) for x in inputs})
        return graph.forward

    path, _ = teacher
    plain, compiled = build(path), build(path, compile={"backend": backend})
    losses = [model(**without_masks(), mode="loss")["loss"] for model in (plain, compiled)]
    torch.testing.assert_close(*losses, rtol=0, atol=1e-11)
    width = tiny_dinov2.TEACHER_ARCH["embed_dims"]
    assert any((width,) in shapes for shapes in graphs)

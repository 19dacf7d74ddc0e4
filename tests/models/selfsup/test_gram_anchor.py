"""The Gram term in DINOv2's loss. tests/engine/hooks/test_gram_anchor_hook.py has its schedule."""

from __future__ import annotations

import copy

import pytest
import tiny_dinov2
import torch
from mmengine.registry import MODELS
from torch.nn import functional

GRID = tiny_dinov2.VIEW // tiny_dinov2.PATCH
POSITIONS = {"type": "mmdino.RotaryPositions", "head_dims": 8, "rescale": 2}


def build(gram, **options):
    torch.manual_seed(0)
    # RoPE draws in training, stochastic depth too; neither is in an eval pass.
    model = MODELS.build(tiny_dinov2.model(gram=gram, **options))
    model.init_weights()
    with torch.no_grad():
        # Apart from each other, as after some training.
        for network in model.networks()[1:]:
            for parameter in network["backbone"].parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    for need in model.needs:
        model.mark_met(need)
    return model.double().train()


def batch(clean_size=None):
    found = tiny_dinov2.batch()
    if clean_size:
        generator = torch.Generator().manual_seed(2)
        shape = (2, 4, 3, clean_size, clean_size)
        found["clean_views"] = list(torch.randn(shape, generator=generator, dtype=torch.float64))
    return found


def patches(backbone, views, masks=None):
    return backbone(torch.cat(list(views)), masks=masks)[-1].patches


def expected_term(student, teacher, scope, chosen=None):
    """The formula of DINOv3, one pair of patches at a time."""
    student, teacher = (functional.normalize(x, dim=-1) for x in (student, teacher))
    if scope == "image":
        groups = list(zip(student, teacher, strict=True))
    else:
        chosen = torch.ones(student.shape[:2], dtype=torch.bool) if chosen is None else chosen
        groups = [(student[chosen], teacher[chosen])]
    squares = [
        ((s[i] @ s[j]) - (t[i] @ t[j])).square()
        for s, t in groups
        for i in range(len(s))
        for j in range(len(s))
    ]
    return sum(squares) / len(squares)


@pytest.mark.parametrize("teacher", ["ema", {}])
@pytest.mark.parametrize("kind", ["all", "masked", "unmasked"])
def test_term_is_the_formula(teacher, kind):
    scope = "image" if kind == "all" else "batch"
    model = build({"teacher": teacher, "weight": 1.5, "loss": {"scope": scope, "patches": kind}})
    found = model(**batch(), mode="loss")
    views, masks = batch()["inputs"][:2], batch()["masks"].flatten(0, 1)
    of_teacher = model.teacher["backbone"] if teacher == "ema" else model.gram_anchor.backbone
    with torch.no_grad():
        expected = expected_term(
            patches(model.backbone, views, masks),
            patches(of_teacher, views),
            scope,
            {"all": None, "masked": masks, "unmasked": ~masks}[kind],
        )
    torch.testing.assert_close(found["gram"], 1.5 * expected, rtol=0, atol=1e-9)
    terms = sum(found[name] for name in ("dino", "ibot", "koleo", "gram"))
    torch.testing.assert_close(terms, found["loss"].detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("clean_size", [16, 64])
def test_undistorted_crops_are_seen_by_the_gram_teacher_alone(clean_size):
    """Its map is resized to the student's grid; all other terms are as without them."""
    model = build({"teacher": {}, "weight": 2.0})
    plain, found = (model(**batch(size), mode="loss") for size in (None, clean_size))
    for name in ("dino", "ibot", "koleo"):
        assert torch.equal(found[name], plain[name])
    clean = batch(clean_size)
    side = clean_size // tiny_dinov2.PATCH
    with torch.no_grad():
        teacher = patches(model.gram_anchor.backbone, clean["clean_views"])
        maps = teacher.transpose(1, 2).unflatten(2, (side, side))
        maps = functional.interpolate(maps, (GRID, GRID), mode="bicubic", align_corners=False)
        student = patches(model.backbone, clean["inputs"][:2], clean["masks"].flatten(0, 1))
        expected = expected_term(student, maps.flatten(2).transpose(1, 2), "image")
    torch.testing.assert_close(found["gram"], 2 * expected, rtol=0, atol=1e-9)


def test_gradient_goes_to_the_student_alone():
    model = build({"teacher": {}}, ibot_weight=0, koleo_weight=0)
    found = model(**batch(64), mode="loss")
    found["loss"].backward()
    assert model.backbone.ln1.weight.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in model.gram_anchor.parameters())


def test_gram_teacher_is_deterministic():
    """No stochastic depth and no augmented positions; the EMA teacher likewise."""
    backbone = tiny_dinov2.model()["backbone"]
    arch = {**backbone["arch"], "embed_dims": 16}
    backbone |= {"arch": arch, "position_encoding": POSITIONS, "drop_path_rate": 0.5}
    head = {**tiny_dinov2.model()["head"], "in_channels": 16}
    model = build({"teacher": {}}, backbone=backbone, head=head)
    views = batch()["inputs"][:2]
    for network in (model.gram_anchor.backbone, model.teacher["backbone"]):
        with torch.no_grad():
            assert torch.equal(patches(network, views), patches(network, views))


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_micro_batches_give_the_same_term(micro_batch):
    whole, parts = (
        build({"teacher": {}}, micro_batch=size)(**batch(64), mode="loss")["gram"]
        for size in (None, micro_batch)
    )
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_at_weight_0_the_gram_teacher_does_not_run(monkeypatch):
    model = build({"teacher": {}})
    model.gram_anchor.current_gram_weight = 0.0
    monkeypatch.setattr(model.gram_anchor.backbone, "forward", None)
    found = model(**batch(64), mode="loss")
    assert found["gram"] == 0
    model.gram_anchor = None
    assert torch.equal(found["loss"], model(**batch(), mode="loss")["loss"])


def test_refresh_copies_the_teacher():
    model = build({"teacher": {}})
    teacher = copy.deepcopy(model.teacher["backbone"].state_dict())
    model.gram_anchor.refresh(model.teacher["backbone"])
    found = model.gram_anchor.backbone.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in teacher.items())


def test_a_checkpoint_gives_the_weights(tmp_path):
    earlier = build({"teacher": {}})
    torch.save({"state_dict": earlier.state_dict()}, tmp_path / "earlier.pth")
    init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "earlier.pth")}
    model = MODELS.build(tiny_dinov2.model(gram={"teacher": {"init_cfg": init_cfg}})).double()
    model.init_weights()
    assert "gram_teacher" not in model.needs
    expected = earlier.teacher["backbone"].state_dict()
    for name, tensor in model.gram_anchor.backbone.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_a_checkpoint_of_another_width_is_refused(tmp_path):
    backbone = tiny_dinov2.model()["backbone"]
    wide = {**backbone, "arch": {**backbone["arch"], "embed_dims": 24}}
    torch.save({"state_dict": MODELS.build(wide).state_dict()}, tmp_path / "wide.pth")
    init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "wide.pth")}
    model = MODELS.build(tiny_dinov2.model(gram={"teacher": {"init_cfg": init_cfg}}))
    with pytest.raises(ValueError, match=r"does not match VisionTransformer.* Set arch and patch_"):
        model.init_weights()


@pytest.mark.parametrize(
    ("gram", "error", "message"),
    [
        ({"teacher": {"patch_size": 4}}, ValueError, "another network .* pos_embed.* same width"),
        ({"teacher": {"num_registers": 2}}, ValueError, "another network .* register_tokens"),
        ({"teacher": "frozen"}, TypeError, r"teacher='frozen'; it must be 'ema', or a dict"),
        ({"weight": 0}, ValueError, "weight=0.* above 0"),
        ({"loss": {"scope": "crop"}}, ValueError, "scope='crop'"),
    ],
)
def test_what_is_no_gram_teacher_is_refused(gram, error, message):
    with pytest.raises(error, match=message):
        build(gram)


@pytest.mark.parametrize(
    ("gram", "clean", "message"),
    [
        (None, [(64, 2)], r"only the Gram teacher looks at\. Set model\.gram, or leave clean_size"),
        ({"teacher": "ema"}, [(64, 2)], r"which does not see them\. Leave out clean_size"),
        (
            {"teacher": {}},
            [(64, 1)],
            r"\[\(64, 64\)\] for 2 global views\. Set the same clean_size",
        ),
        ({"teacher": {}}, [(64, 1), (32, 1)], r"\(32, 32\)\] for 2 .* the same clean_size"),
        ({"teacher": {}}, [(20, 2)], r"20 x 20 pixels does not divide.* 8 x 8\. Change clean_size"),
    ],
)
def test_undistorted_crops_that_do_not_fit_are_refused(gram, clean, message):
    views = [
        torch.zeros(4, 3, size, size).double() for size, number in clean for _ in range(number)
    ]
    with pytest.raises(ValueError, match=message):
        build(gram)(**batch(), clean_views=views, mode="loss")

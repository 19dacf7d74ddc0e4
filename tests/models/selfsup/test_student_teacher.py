"""Student and teacher of methods that are not DINO."""

from __future__ import annotations

import pytest
import tiny_methods
import tiny_run
import torch
from mmengine.logging import MMLogger
from mmengine.registry import MODELS

from mmdino.models import StudentTeacher
from mmdino.models.losses.cross_view import view_pairs


def build(name, **options):
    torch.manual_seed(0)
    model = MODELS.build(tiny_methods.method(name, **options))
    model.init_weights()
    for need in model.needs:
        model.mark_met(need)
    return model.double().train()


def random_views(batch_size=4, sizes=tiny_run.VIEW_SIZES):
    torch.manual_seed(1)
    return [torch.randn(batch_size, 3, size, size, dtype=torch.float64) for size in sizes]


def outputs(network, views):
    """Outputs of a sequence of modules for all views at once, (V, B, .)."""
    features = torch.cat([network[0](view, patches=False)[-1] for view in views])
    for module in network[1:]:
        (features,) = module((features,))
    return features.view(len(views), -1, features.shape[-1])


@pytest.mark.parametrize("name", ["byol", "simsiam", "barlow_twins"])
@pytest.mark.parametrize("sizes", [(32, 32), tiny_run.VIEW_SIZES])
def test_loss_and_gradients_are_those_of_the_parts_put_together_by_hand(name, sizes):
    model, twin = build(name), build(name)
    views = random_views(sizes=sizes)
    metrics = model.loss(views)
    metrics["loss"].backward()

    projections = outputs([twin.backbone, twin.head], views)
    if name == "byol":
        with torch.no_grad():
            teacher = outputs([twin.teacher["backbone"], twin.teacher["head"]], views[:2])
    else:
        teacher = projections[:2]
    student = projections
    if twin.predictor is not None:
        student = twin.predictor((projections.flatten(0, 1),))[0].view_as(projections)
    expected = twin.criterion(student, teacher)["loss"]
    expected.backward()
    torch.testing.assert_close(metrics["loss"], expected, rtol=0, atol=1e-12)
    for (parameter_name, found), other in zip(
        model.named_parameters(), twin.parameters(), strict=True
    ):
        assert (found.grad is None) == (other.grad is None), parameter_name
        if found.grad is not None:
            torch.testing.assert_close(found.grad, other.grad, rtol=0, atol=1e-12)
    assert 0 < metrics["feature_std"] < 2


def gradients(model, views):
    """Loss, gradients and buffers after a micro-batch."""
    loss = model.loss(views)["loss"]
    loss.backward()
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return loss.detach(), grads, dict(model.named_buffers())


def assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["byol", "simsiam", "barlow_twins"])
@pytest.mark.parametrize("micro_batch", [1, 3, 4, 9])
def test_micro_batches_give_the_gradient_of_the_whole_batch(name, micro_batch):
    views = random_views()
    expected = gradients(build(name), views)
    found = gradients(build(name, micro_batch=micro_batch), views)
    assert_equal(found, expected)


def test_recomputed_activations_see_the_same_draws_and_move_statistics_once():
    backbone = tiny_run.resnet_model()["backbone"]
    options = {
        "backbone": {**backbone, "type": "mmdino.ResNet", "zero_init_residual": False},
        "neck": {"type": "GlobalAveragePooling"},
        "head": tiny_methods.projector(64),
    }
    views = random_views()
    expected = gradients(build("simsiam", **options), views)
    # One micro-batch holds all images, so that batch norms see the same.
    found = gradients(build("simsiam", micro_batch=4, **options), views)
    assert_equal(found, expected)
    dropping = {**tiny_run.vit_model()["backbone"], "drop_path_rate": 0.5}
    ends = []
    for micro_batch in (None, 4):
        model = build("byol", backbone=dropping, micro_batch=micro_batch)
        torch.manual_seed(5)
        ends.append(gradients(model, views))
    assert_equal(*ends)


@pytest.mark.parametrize("name", ["byol", "simsiam"])
def test_separate_views_have_batch_norms_that_see_one_view(name):
    model, twin = build(name, separate_views=True), build(name)
    views = random_views()
    loss = model.loss(views)["loss"]
    with torch.no_grad():
        alone = [outputs([twin.backbone, twin.head], [view])[0] for view in views]
        targets = alone[:2]
        if name == "byol":
            teacher = [twin.teacher["backbone"], twin.teacher["head"]]
            targets = [outputs(teacher, [view])[0] for view in views[:2]]
        student = torch.stack([twin.predictor((projection,))[0] for projection in alone])
    expected = twin.criterion(student, torch.stack(targets))["loss"]
    torch.testing.assert_close(loss.detach(), expected, rtol=0, atol=1e-12)
    assert loss != twin.loss(views)["loss"]


def test_modules_that_do_not_fit_are_named():
    wide = tiny_methods.projector(24)
    with pytest.raises(ValueError, match=r"The backbone gives .*\(12,\), but the head has .*=24"):
        build("simsiam", head=wide).loss(random_views())
    with pytest.raises(ValueError, match=r"\(12,\), but the head has in_channels=24"):
        build("byol", head=wide).loss(random_views())
    with pytest.raises(ValueError, match=r"The head gives .*\(8,\), but the predictor has .*=24"):
        build("byol", predictor=wide).loss(random_views())
    with pytest.raises(ValueError, match=r"micro_batch=0"):
        build("byol", micro_batch=0)
    with pytest.raises(TypeError, match=r"compile=True; it must be a dict"):
        build("byol", compile=True)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"with_avg_pool": True}, "has with_avg_pool=True, but it gets vectors"),
        ({"norm_cfg": {"type": "BN"}}, r"has the batch norm of maps.*norm_cfg\.type='BN1d'"),
        ({"out_channels": 0}, "has a layer of width 0"),
    ],
)
def test_necks_of_mmpretrain_that_are_not_for_vectors_are_refused(changes, told):
    with pytest.raises(ValueError, match=rf"model\.head \(NonLinearNeck\) {told}"):
        build("simsiam", head=tiny_methods.projector() | changes)
    with pytest.raises(ValueError, match=rf"model\.predictor \(NonLinearNeck\) {told}"):
        build("simsiam", predictor=tiny_methods.projector(8) | changes)


def test_maps_of_views_of_different_sizes_need_a_neck():
    backbone = tiny_run.resnet_model()["backbone"]
    with pytest.raises(ValueError, match=r"features of shapes .* A map needs a neck"):
        build("simsiam", backbone=backbone).loss(random_views(sizes=(64, 64, 32)))


@pytest.mark.parametrize(("batch_size", "micro_batch"), [(4, 1), (4, 3)])
def test_batch_norms_of_the_backbone_refuse_a_micro_batch_of_one(batch_size, micro_batch):
    model = build(
        "simsiam",
        backbone=tiny_run.resnet_model()["backbone"],
        neck={"type": "GlobalAveragePooling"},
        head=tiny_methods.projector(64),
        micro_batch=micro_batch,
    )
    with pytest.raises(ValueError, match=f"micro_batch={micro_batch} and 4 images, which leave"):
        model.loss(random_views(batch_size))
    assert torch.isfinite(model.eval().loss(random_views(batch_size))["loss"])


@pytest.mark.parametrize("name", ["simclr", "barlow_twins"])
def test_a_teacher_that_the_loss_would_ignore_is_refused(name):
    with pytest.raises(ValueError, match=r"teacher='ema', but .* Set model.teacher='student'"):
        build(name, teacher="ema")


def test_a_predictor_that_the_targets_would_pass_is_refused():
    head = {"type": "mmdino.DINOHead", "in_channels": 12, "out_channels": 8, "predictor": {}}
    build("byol", head=head, predictor=None)
    with pytest.raises(ValueError, match=r"a predictor inside the head.*model\.predictor"):
        build("simsiam", head=head, predictor=None)


@pytest.mark.parametrize(("name", "warned"), [("byol", 1), ("simsiam", 1), ("mocov3", 0)])
def test_a_method_that_collapses_without_its_predictor_is_told(name, warned, caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    build(name)
    assert "known to collapse" not in caplog.text
    build(name, predictor=None)
    logger.removeHandler(caplog.handler)
    assert caplog.text.count("without a predictor (model.predictor) is known to collapse") == warned


def test_needs_follow_the_teacher_and_the_loss():
    assert build("byol").needs == {"teacher"}
    assert build("simsiam").needs == set()
    assert build("simsiam").teacher is None
    dino = MODELS.build(tiny_run.vit_model())
    assert dino.needs == {"teacher", "center"}
    sinkhorn = MODELS.build(tiny_run.vit_model(loss={"targets": "sinkhorn_knopp"}))
    assert sinkhorn.needs == {"teacher"}


def test_a_need_of_a_method_of_ones_own_is_named():
    class Queued(StudentTeacher):
        needs = {"memory", "teacher"}

    cfg = tiny_methods.method("byol") | {"type": Queued}
    model = MODELS.build(cfg).train()
    message = r"its teacher and its memory\. .*the one that calls mark_met\('memory'\), dict\(type="
    with pytest.raises(ValueError, match=message):
        model(random_views(), mode="loss")


def test_a_frozen_teacher_stays_as_it_is():
    teacher = tiny_run.resnet_model()
    model = build(
        "byol",
        teacher="frozen",
        predictor=None,
        teacher_cfg={
            "backbone": teacher["backbone"],
            "neck": teacher["neck"],
            "head": tiny_methods.projector(64),
        },
    )
    assert model.needs == set()
    assert model.training
    assert not any(module.training for module in model.teacher.modules())
    before = {name: tensor.clone() for name, tensor in model.teacher.state_dict().items()}
    views = random_views()
    loss = model.loss(views)["loss"]
    loss.backward()
    assert all(torch.equal(model.teacher.state_dict()[name], before[name]) for name in before)
    assert not any(parameter.requires_grad for parameter in model.teacher.parameters())
    assert torch.equal(model.extract_feat(views[0]), model.backbone(views[0])[-1])
    assert model.extract_feat(views[0], "teacher").shape == (4, 64)
    # A teacher without a head gives its features.
    backbone = tiny_run.vit_model()["backbone"]
    bare = build("byol", teacher="frozen", teacher_cfg={"backbone": backbone}, predictor=None)
    bare.head, bare._takes_tuple["head"] = torch.nn.Identity(), False
    assert torch.isfinite(bare.loss(views)["loss"])


def test_features_are_the_students_where_the_teacher_is_the_student():
    model = build("simsiam").eval()
    images = random_views()[0]
    assert torch.equal(model(images, mode="tensor"), model.backbone(images)[-1])
    with pytest.raises(ValueError, match="network='teacher'; it must be 'student'"):
        model.extract_feat(images, "teacher")


def test_class_token_of_features_goes_to_the_head():
    plain = build("simsiam")
    cfg = tiny_methods.method("simsiam")
    tokens = build("simsiam", backbone={**cfg["backbone"], "out_type": "features"})
    views = random_views()
    torch.testing.assert_close(tokens.loss(views)["loss"], plain.loss(views)["loss"])
    assert torch.equal(tokens.extract_feat(views[0]), plain.extract_feat(views[0]))


def test_each_target_is_paired_with_every_other_view():
    assert view_pairs(2, 2) == [(0, 1), (1, 0)]
    assert view_pairs(4, 2) == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 2), (1, 3)]
    assert view_pairs(3, 1) == [(0, 1), (0, 2)]

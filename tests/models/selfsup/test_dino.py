"""The model: two networks that share nothing, and configs that do not fit refused when built."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import tiny_run
import tiny_segmentation
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample

from mmdino.models.losses import KoLeoLoss
from mmdino.models.selfsup.base import feature_spread


def build(config=None, **options):
    torch.manual_seed(0)
    model = MODELS.build({**(config or tiny_run.vit_model()), **options})
    model.init_weights()
    return model


def trainable(model):
    """Promises the updates that a run's hooks make."""
    for need in model.needs:
        model.mark_met(need)
    return model.train()


def random_views(batch_size=2, sizes=tiny_run.VIEW_SIZES, channels=3):
    torch.manual_seed(1)
    sides = [(size, size) if isinstance(size, int) else size for size in sizes]
    return [torch.randn(batch_size, channels, *side) for side in sides]


def deviating(backbone=None, head=None, **options):
    """The tiny ViT with parts of its config changed."""
    config = tiny_run.vit_model()
    config["backbone"] |= backbone or {}
    config["head"] |= head or {}
    return config | options


@pytest.fixture(params=["vit", "resnet"])
def model(request):
    return build({"vit": tiny_run.vit_model, "resnet": tiny_run.resnet_model}[request.param]())


def test_teacher_is_equal_to_the_student_and_apart_from_it(model):
    student = {
        name: tensor
        for name, tensor in model.state_dict(keep_vars=True).items()
        if not name.startswith(("teacher.", "dino_loss."))
    }
    teacher = model.teacher.state_dict(keep_vars=True)
    assert list(teacher) == list(student)
    for name, tensor in teacher.items():
        assert torch.equal(tensor, student[name]), name
        assert tensor.data_ptr() != student[name].data_ptr(), name
        assert not tensor.requires_grad, name
    pairs = list(zip(*model.teacher_pairs(), strict=True))
    assert len(pairs) == len(list(model.teacher.parameters()))
    assert all(torch.equal(*pair) for pair in pairs)


def test_predictor_of_the_head_is_the_students_alone():
    model = trainable(build(deviating(head={"predictor": {"hidden_channels": 16}})))
    assert model.head.predictor is not None
    assert model.teacher["head"].predictor is None
    student, teacher = model.head.state_dict(), model.teacher["head"].state_dict()
    assert all(torch.equal(tensor, student[name]) for name, tensor in teacher.items())
    pairs = list(zip(*model.teacher_pairs(), strict=True))
    assert len(pairs) == len(list(model.teacher.parameters()))
    assert all(torch.equal(*pair) for pair in pairs)
    model.loss(random_views())["loss"].backward()
    assert all(p.grad.abs().max() > 0 for p in model.head.predictor[0].parameters())


@pytest.mark.parametrize(
    ("loss", "needs"),
    [
        ({"type": "mmdino.MoCoV3Loss", "temperature": 0.1}, {"teacher"}),
        ({"type": "mmdino.DINOMSELoss"}, {"teacher", "center"}),
        ({"targets": "softmax"}, {"teacher"}),
        ({"targets": "sinkhorn_knopp", "sinkhorn_per_view": True}, {"teacher"}),
    ],
    ids=["InfoNCE", "MSE", "softmax", "Sinkhorn-Knopp"],
)
def test_other_losses_and_targets_say_what_they_need(loss, needs):
    model = trainable(build(deviating(loss=loss)))
    assert model.needs == needs
    model.loss(random_views(batch_size=4))["loss"].backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_hooks_for_what_a_loss_has_not_are_to_be_switched_off(tmp_path):
    model = tiny_run.vit_model(loss={"type": "mmdino.MoCoV3Loss"})
    for hook, left_out in (
        ("CenterUpdateHook", {"TeacherTempWarmupHook": None}),
        ("TeacherTempWarmupHook", {"CenterUpdateHook": None}),
    ):
        hooks = tiny_run.hooks(**left_out)
        runner = tiny_run.build(tmp_path / hook, model=model, custom_hooks=hooks)
        with pytest.raises(TypeError, match=f"{hook} works on .* Switch the hook off"):
            runner.train()


def test_teacher_has_no_stochastic_depth():
    model = build(deviating({"drop_path_rate": 0.5}))
    rates = {
        name: [module.drop_prob for module in network.modules() if isinstance(module, DropPath)]
        for name, network in (("student", model.backbone), ("teacher", model.teacher))
    }
    assert max(rates["student"]) == 0.5
    assert rates["teacher"]
    assert max(rates["teacher"]) == 0


def test_no_gradient_reaches_the_teacher(model):
    trainable(model).loss(random_views())["loss"].backward()
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_teacher_trains_its_own_batch_norm_on_the_global_views():
    model = trainable(build(tiny_run.resnet_model()))
    assert all(module.training for module in model.teacher.modules())
    views = random_views()
    model.loss(views)
    alone = build(tiny_run.resnet_model()).train()
    with torch.no_grad():
        alone.teacher["backbone"](torch.cat(views[:2]))
    teacher, student = model.teacher["backbone"].bn1, model.backbone.bn1
    assert torch.equal(teacher.running_mean, alone.teacher["backbone"].bn1.running_mean)
    assert not torch.equal(teacher.running_mean, student.running_mean)
    assert (teacher.num_batches_tracked, student.num_batches_tracked) == (1, 2)


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ({"EMATeacherHook": None}, r"updates its teacher\. .*dict\(type='mmdino.EMATeacherHook'\)"),
        ({"CenterUpdateHook": None}, r"its center\. .*dict\(type='mmdino.CenterUpdateHook'\)"),
        (
            {"EMATeacherHook": None, "CenterUpdateHook": None},
            r"its teacher and its center\. .*dict\(type='mmdino.CenterUpdateHook'\), "
            r"dict\(type='mmdino.EMATeacherHook'\)",
        ),
    ],
)
def test_training_without_the_updates_is_refused(tmp_path, left_out, message):
    runner = tiny_run.build(tmp_path, custom_hooks=tiny_run.hooks(**left_out))
    with pytest.raises(ValueError, match=message):
        runner.train()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            deviating({"in_channels": 8}),
            r"mean and std of 3 channel\(s\).*VisionTransformer takes 8",
        ),
        (deviating(num_global_views=0), "num_global_views=0"),
        (deviating(loss={"num_prototypes": 8}), "num_prototypes=8, the head out_channels=32"),
        (
            deviating(loss={"type": "mmdino.DINOMSELoss", "num_prototypes": 8}),
            "num_prototypes=8, the head out_channels=32",
        ),
        (deviating(teacher="student", teacher_cfg={"backbone": {}}), "teacher='student' and"),
        (deviating(teacher="frozen"), "teacher='frozen' needs the config of its backbone"),
        (deviating(teacher="momentum"), "teacher='momentum'; it must be one of"),
    ],
)
def test_what_does_not_fit_is_refused_when_built(config, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)


@pytest.mark.parametrize(
    ("config", "sizes", "message"),
    [
        (deviating(), (32, 32, 20), "20 x 20 pixels does not divide into patches of 8 x 8"),
        (deviating(), (32, 32, (16, 12)), "16 x 12 pixels does not divide"),
        (deviating(), (32, 16, 16), "first 2 views are the global ones"),
        (deviating(head={"in_channels": 24}), (32, 32), r"shape \(12,\), .*has in_channels=24"),
        (deviating({"out_type": "featmap"}), (32, 32), r"\(12, 4, 4\), .*GlobalAveragePooling"),
        (tiny_run.resnet_model(neck=None), (32, 32), r"\(64, 1, 1\), .*GlobalAveragePooling"),
    ],
)
def test_what_does_not_fit_the_views_is_refused_by_the_first_batch(config, sizes, message):
    with pytest.raises(ValueError, match=message):
        trainable(build(config)).loss(random_views(sizes=sizes))


def test_config_stays_as_it_was():
    config = tiny_run.resnet_model()
    before = copy.deepcopy(config)
    MODELS.build(config)
    assert config == before


def test_resnet_50_with_its_neck():
    model = MODELS.build(
        {
            "type": "mmdino.DINO",
            "backbone": {"type": "ResNet", "depth": 50},
            "neck": {"type": "GlobalAveragePooling"},
            "head": {"type": "mmdino.DINOHead", "in_channels": 2048, "out_channels": 64},
        }
    )
    assert model.extract_feat(torch.zeros(2, 3, 64, 64)).shape == (2, 2048)


def test_views_need_not_be_square_nor_images_have_three_channels():
    config = deviating(
        {"in_channels": 8},
        data_preprocessor={"mean": [0.0] * 8, "std": [1.0] * 8},
    )
    views = random_views(sizes=((32, 16), (32, 16), (16, 24)), channels=8)
    figures = trainable(build(config)).loss(views)
    assert torch.isfinite(figures["loss"])


def test_batch_of_one_with_batch_norm_is_refused():
    model = trainable(build(tiny_run.resnet_model()))
    with pytest.raises(ValueError, match="drop_last=True"):
        model.loss(random_views(batch_size=1))
    assert torch.isfinite(model.eval().loss(random_views(batch_size=1))["loss"])
    assert torch.isfinite(trainable(build()).loss(random_views(batch_size=1))["loss"])


@pytest.mark.parametrize(
    ("views", "came"),
    [
        (random_views(sizes=(32,)), r"1 view\(s\)"),
        ([], r"0 view\(s\)"),
        (torch.zeros(2, 3, 32, 32), "Tensor"),
    ],
)
def test_fewer_than_two_views_are_refused(views, came):
    with pytest.raises(ValueError, match=f"{came}.*at least two views.*MultiCropTransform"):
        trainable(build()).loss(views)


def test_backbone_runs_once_a_size_and_head_once(model):
    calls = []
    for name in ("backbone", "head"):
        for prefix, module in (("", getattr(model, name)), ("teacher ", model.teacher[name])):
            module.register_forward_hook(
                lambda _, args, __, name=prefix + name: calls.append((name, len(args[0])))
            )
    trainable(model).loss(random_views(batch_size=2, sizes=(32, 32, 16, 16, 16)))
    # Two globals and three locals of two images each.
    assert calls == [
        ("teacher backbone", 4),
        ("teacher head", 4),
        ("backbone", 4),
        ("backbone", 6),
        ("head", 10),
    ]


def test_features_are_the_teachers_and_predict_sets_them():
    model = build().eval()
    with torch.no_grad():
        for parameter in model.teacher.parameters():
            parameter.add_(0.1)
    images = torch.randn(3, 3, 32, 32)
    expected = model.teacher["backbone"](images)[-1]
    assert torch.equal(model(images, mode="tensor"), expected)
    samples = [DataSample() for _ in images]
    predicted = model(images, samples, mode="predict")
    assert predicted == samples
    assert torch.equal(torch.stack([sample.feature for sample in predicted]), expected)
    assert len(model.predict(images)) == 3
    assert torch.equal(model.extract_feat(images, "student"), model.backbone(images)[-1])


def test_unknown_modes_are_refused():
    model = build()
    with pytest.raises(ValueError, match="mode='train'"):
        model(torch.zeros(1, 3, 32, 32), mode="train")
    with pytest.raises(ValueError, match="network='ema'"):
        model.extract_feat(torch.zeros(1, 3, 32, 32), "ema")


def test_feature_spread_is_0_for_one_feature_and_1_on_the_sphere():
    torch.manual_seed(0)
    assert feature_spread(torch.ones(8, 32)).item() == pytest.approx(0, abs=1e-6)
    assert feature_spread(torch.randn(4096, 32)).item() == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(
    "scope",
    [
        "mmdino",
        pytest.param(
            "mmseg",
            marks=pytest.mark.skipif(
                tiny_segmentation.MMCV_LITE, reason="mmcv-lite has no compiled operators"
            ),
        ),
    ],
)
def test_types_are_found_from_other_scopes_without_imports(scope):
    script = f"""
from mmengine.registry import HOOKS, MODELS, TRANSFORMS, init_default_scope
init_default_scope({scope!r})
MODELS.build(dict(type="mmdino.DINOHead", in_channels=4, out_channels=8, hidden_channels=4))
HOOKS.build(dict(type="mmdino.EMATeacherHook"))
TRANSFORMS.build(dict(type="mmdino.MultiCropTransform"))
"""
    subprocess.run([sys.executable, "-c", script], env=tiny_run.script_env(), check=True)


def test_compiled_backbones_have_a_graph_a_view_size_and_the_same_names():
    """One for student and teacher each; a backend that compiles nothing needs no compiler here."""
    sizes = []

    def backend(graph, inputs):
        sizes.append(next(tuple(x.shape[-2:]) for x in inputs if x.dim() == 4 and x.shape[1] == 3))
        return graph.forward

    torch._dynamo.reset()
    torch.manual_seed(0)
    plain = build().train()
    torch.manual_seed(0)
    compiled = build(compile={"backend": backend, "fullgraph": True}).train()
    assert list(compiled.state_dict()) == list(plain.state_dict())
    compiled.load_state_dict(plain.state_dict())
    views = random_views()
    for _ in range(2):
        figures = [model.loss(views)["loss"] for model in (plain, compiled)]
        torch.testing.assert_close(*figures)
    # The teacher sees the global size alone; another batch would add graphs, another call does not.
    assert sorted(sizes) == [(16, 16), (32, 32), (32, 32)]
    figures[0].backward()
    figures[1].backward()
    for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad)


def test_a_head_of_another_kind_computes_its_own_logits():
    """The loss takes over the last layer of heads that offer it."""
    torch.manual_seed(0)
    model = build().double()
    views = [view.double() for view in random_views()]
    fused = model.loss(views)["loss"]
    model.head.gives_lazy_logits = False
    torch.testing.assert_close(model.loss(views)["loss"], fused, rtol=0, atol=1e-9)
    model.head.gives_lazy_logits = True
    model.dino_loss.chunk = None
    torch.testing.assert_close(model.loss(views)["loss"], fused, rtol=0, atol=1e-9)


@pytest.mark.parametrize("config", [tiny_run.vit_model, tiny_run.resnet_model])
def test_koleo_adds_to_the_loss_what_keeps_the_global_features_apart(config):
    views = random_views(batch_size=4)
    plain = build(config()).loss(views)
    model = build(config(), koleo_weight=0.3, koleo={"top_k": 2})
    # In one call, as batch norms see them.
    features = model.extract_feat(torch.cat(views[:2]), network="student")
    koleo = KoLeoLoss(top_k=2)(features.unflatten(0, (2, 4)))
    metrics = model.loss(views)
    torch.testing.assert_close(metrics["dino"], plain["loss"].detach())
    torch.testing.assert_close(metrics["koleo"], 0.3 * koleo["loss"].detach())
    torch.testing.assert_close(metrics["loss"], plain["loss"] + 0.3 * koleo["loss"])
    torch.testing.assert_close(metrics["nearest_distance"], koleo["nearest_distance"])
    assert list(model.state_dict()) == list(build(config()).state_dict())


def test_dino_has_no_koleo_by_default():
    assert not {"koleo", "nearest_distance"} & set(build().loss(random_views()))
    with pytest.raises(ValueError, match="DINO got koleo_weight=-1"):
        build(koleo_weight=-1)

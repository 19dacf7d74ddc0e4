"""Targets, predictions, loss and gradients equal the reference's, and what does not fit is told."""

from __future__ import annotations

import pytest
import timm
import tiny_distillation
import tiny_run
import torch
from mmengine.registry import MODELS

from mmdino.models.losses.feature_loss import whiten
from mmdino.models.preprocessors.multi_view_preprocessor import IMAGENET_MEAN
from mmdino.models.selfsup.distillation_teacher import input_size
from mmdino.models.selfsup.feature_distillation import target_parts
from mmdino.models.selfsup.tokens import feature_width, tokens_of
from mmdino.weights.layouts import clip, swin

CLOSE = {"rtol": 0, "atol": 1e-9}


@pytest.fixture(scope="module")
def files(tmp_path_factory, golden):
    """Files of the reference's teachers."""
    folder = tmp_path_factory.mktemp("teachers")
    torch.save(golden("distillation", "dino/teacher/"), folder / "dino.pth")
    torch.save(golden("distillation", "clip/teacher/"), folder / "clip.pth")
    return {name: folder / f"{name}.pth" for name in ("dino", "clip")}


TEACHERS = {
    "dino": {},
    "clip": {
        "backbone": tiny_distillation.clip_teacher(),
        "mean": clip.MEAN,
        "std": clip.STD,
    },
}


@pytest.mark.parametrize("case", TEACHERS)
def test_features_loss_and_gradients_equal_the_reference(golden, files, case):
    expected = golden("distillation", f"{case}/")
    model = tiny_distillation.loaded(tiny_distillation.model(files[case], **TEACHERS[case]))
    weights = tiny_distillation.model_weights(golden("distillation", f"{case}/student/"))
    model.load_state_dict(weights, strict=False)
    (teacher,) = model.teachers
    seen, backbone = {}, teacher.frozen.network["backbone"]
    handle = backbone.register_forward_hook(lambda _, args, out: seen.update(args=args, out=out))
    found = model([expected["images"]], mode="loss")
    handle.remove()
    found["loss"].backward()

    (normed,) = seen["out"]
    tokens = {
        "teacher_images": seen["args"][0],
        "teacher_normed": all_tokens(normed),
        "target": all_tokens(teacher(expected["images"], model.statistics, (3, 3))),
        "student_features": all_tokens(model.backbone(expected["images"])[-1]),
        "loss": found["loss"],
    }
    tokens["prediction"] = model.projectors[0](tokens["student_features"])
    for name, tensor in tokens.items():
        torch.testing.assert_close(tensor, expected[name], **CLOSE, msg=name)
    gradients = tiny_distillation.model_weights(golden("distillation", f"{case}/grad/"))
    parameters = dict(model.named_parameters())
    assert parameters.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(parameters[name].grad, gradient, **CLOSE, msg=name)


def all_tokens(features):
    return torch.cat([features.cls.unsqueeze(1), features.patches], dim=1)


def views(size=12, batch=3):
    return [torch.randn(batch, 3, size, size, dtype=torch.float64)]


def test_errors_of_parts_and_of_the_best_constants_are_plain_formulas(files):
    torch.manual_seed(0)
    model = tiny_distillation.loaded(tiny_distillation.model(files["dino"]))
    inputs = views()
    found = model(inputs, mode="loss")
    tokens = model.backbone(inputs[0])[-1]
    target = model.teachers[0](inputs[0], model.statistics, (3, 3))
    for name, own, theirs in (
        ("class", tokens.cls.unsqueeze(1), target.cls.unsqueeze(1)),
        ("patch", tokens.patches, target.patches),
    ):
        error = model.criterion(model.projectors[0](own), theirs)["loss"]
        torch.testing.assert_close(found[f"{name}_error"], error)
        constant = theirs.flatten(0, 1).mean(0).expand_as(theirs)
        constant_error = model.criterion(constant, theirs)["loss"]
        torch.testing.assert_close(found[f"{name}_constant"], constant_error)
    mean = (found["class_error"] + 9 * found["patch_error"]) / 10
    torch.testing.assert_close(found["loss"].detach(), mean)
    assert [name for name in found if "loss" in name] == ["loss"]


def test_only_the_student_and_the_projectors_are_trained_and_saved(files):
    model = tiny_distillation.loaded(tiny_distillation.model(files["dino"]))
    model(views(), mode="loss")["loss"].backward()
    parts = {name.partition(".")[0] for name, _ in model.named_parameters()}
    assert parts == {"backbone", "projectors"}
    assert all(parameter.grad is not None for parameter in model.parameters())
    others = {name for name in model.state_dict() if not name.startswith(tuple(parts))}
    assert others == {"teachers.0.frozen.sha256"}
    assert not model.needs
    images = views()[0]
    assert torch.equal(model.extract_feat(images), model.backbone(images)[-1].cls)


OF_IMAGE = {
    "class_token": lambda cls, patches: cls,
    "pooled": lambda cls, patches: patches.mean(1),
}


@pytest.mark.parametrize("target", ["class_token", "pooled", "patches"])
def test_other_targets_are_compared_alone(files, target):
    model = tiny_distillation.loaded(tiny_distillation.model(files["dino"], target=target))
    inputs = views()
    own, theirs = (
        network(inputs[0])[-1]
        for network in (model.backbone, model.teachers[0].frozen.network["backbone"])
    )
    choose = OF_IMAGE.get(target, lambda cls, patches: patches)
    source, goal = (choose(tokens.cls, tokens.patches) for tokens in (own, theirs))
    expected = model.criterion(model.projectors[0](source), whiten(goal, "layer_norm"))["loss"]
    torch.testing.assert_close(model(inputs, mode="loss")["loss"], expected)


def test_logits_are_those_of_the_head_of_a_run(tmp_path):
    head = {
        "type": "mmdino.DINOHead",
        "in_channels": 12,
        "out_channels": 32,
        "hidden_channels": 16,
        "bottleneck_channels": 8,
    }
    source = MODELS.build(tiny_run.vit_model())
    torch.save({"state_dict": source.state_dict()}, tmp_path / "run.pth")
    backbone = {**tiny_run.vit_model()["backbone"], "out_type": "features"}
    cfg = tiny_distillation.model(tmp_path / "run.pth", target="logits", head=head)
    cfg["teacher"]["backbone"] = backbone
    model = tiny_distillation.loaded(cfg)
    inputs = views(32)
    logits = (
        source.teacher["head"].double().eval()(source.teacher["backbone"].double()(inputs[0])[-1])
    )
    target = model.teachers[0](inputs[0], model.statistics, (8, 8))
    torch.testing.assert_close(target.cls, whiten(logits, "layer_norm"))
    assert model.projectors[0].out_features == 32
    assert model(inputs, mode="loss")["loss"] > 0


def test_several_teachers_have_a_projector_each_and_their_losses_add_up(files):
    second = {**TEACHERS["clip"], "checkpoint": str(files["clip"]), "weight": 0.5}
    cfg = tiny_distillation.model(files["dino"])
    cfg["teachers"] = [cfg.pop("teacher"), {**second, "target": "class_token"}]
    model = tiny_distillation.loaded(cfg)
    found = model(views(), mode="loss")
    expected = found["teacher0_error"] + 0.5 * found["teacher1_error"]
    torch.testing.assert_close(found["loss"].detach(), expected)
    assert len(model.projectors) == 2
    assert "teacher1_patch_error" not in found


RESNET = {**tiny_run.resnet_model()["backbone"], "type": "mmdino.ResNet"}


def test_a_resnet_predicts_tokens_from_its_map_and_the_class_token_from_its_mean(files):
    cfg = tiny_distillation.model(files["dino"], RESNET)
    model = tiny_distillation.loaded({**cfg, "neck": {"type": "GlobalAveragePooling"}})
    inputs = views(96)
    found = model(inputs, mode="loss")
    (maps,) = model.backbone(inputs[0])
    target = target_parts(model.teachers[0](inputs[0], model.statistics, (3, 3)))
    assert target["patch"].shape == (3, 9, 8)
    tokens = torch.cat([maps.mean((2, 3)).unsqueeze(1), maps.flatten(2).mT], dim=1)
    expected = model.criterion(model.projectors[0](tokens), torch.cat(list(target.values()), 1))
    torch.testing.assert_close(found["loss"], expected["loss"])
    assert model.extract_feat(inputs[0]).shape == (3, 64)


@pytest.mark.parametrize(
    ("view", "grid", "patch", "expected"),
    [
        ((224, 224), (14, 14), (16, 16), (224, 224)),
        ((224, 224), (14, 14), (14, 14), (196, 196)),
        ((196, 196), (14, 14), (16, 16), (224, 224)),
        ((224, 160), (14, 10), (14, 14), (196, 140)),
        # Half the size, or twice: the map is resized.
        ((224, 224), (14, 14), (8, 8), (224, 224)),
        ((224, 224), (7, 7), (14, 14), (224, 224)),
        ((48, 48), None, (14, 14), (42, 42)),
        ((10, 10), (5, 5), (1, 1), (10, 10)),
    ],
)
def test_the_teacher_s_input_is_resized_where_that_makes_the_grids_equal(
    view, grid, patch, expected
):
    assert input_size(view, grid, patch) == expected
    assert input_size(view, grid, patch, image_size=64) == (64, 64)


def test_grids_that_differ_are_matched_and_the_log_says_so_once(files, monkeypatch):
    said = []
    module = "mmdino.models.selfsup.distillation_teacher.print_log"
    monkeypatch.setattr(module, lambda text, **_: said.append(text))
    for patch, size in ((3, 12), (6, 24)):
        student = tiny_distillation.student(patch_size=patch)
        model = tiny_distillation.loaded(tiny_distillation.model(files["dino"], student))
        for _ in range(2):
            assert model(views(size), mode="loss")["loss"] > 0
    assert said == [
        # 4 x 4 patches of 3 pixels are 16 pixels for patches of 4.
        "model.teacher sees views of (12, 12) pixels resized to (16, 16).",
        # 4 x 4 patches of 6 pixels would be 16 of 24 pixels: the map is resized.
        "model.teacher has maps of (6, 6) patches, resized to the student's (4, 4).",
    ]


def test_tokens_of_other_backbones_are_found(files):
    vit = MODELS.build(
        {
            "type": "mmpretrain.VisionTransformer",
            "arch": tiny_distillation.TEACHER_ARCH,
            "img_size": 12,
            "patch_size": 4,
            "out_type": "raw",
        }
    ).double()
    images = views()[0]
    raw = vit(images)[-1]
    tokens = tokens_of([raw], vit, (12, 12))
    assert tokens.grid == (3, 3)
    assert torch.equal(torch.cat([tokens.cls.unsqueeze(1), tokens.patches], 1), raw)
    cfg = tiny_distillation.model(files["dino"])
    cfg["teacher"]["backbone"] = {
        **tiny_distillation.teacher(),
        "type": "mmpretrain.VisionTransformer",
    }
    cfg["teacher"]["backbone"]["out_type"] = "raw"
    own = tiny_distillation.loaded(tiny_distillation.model(files["dino"])).teachers[0]
    other = tiny_distillation.loaded(cfg).teachers[0]
    seen = MODELS.build({"type": "mmdino.MultiViewPreprocessor"}).statistics
    for found, expected in zip(*(t(images, seen, (3, 3))[:2] for t in (other, own)), strict=True):
        torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match=r"\(3, 4, 8\).*neither a map"):
        tokens_of([raw[:, :4]], vit, (12, 12))


CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 8, 8, 8)}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"depth": 1, "img_size": 32}),
        ("swin_tiny_patch4_window7_224", {"depths": (1, 1), "embed_dim": 48, "img_size": 32}),
        ("convnext_atto", {**CONVNEXT, "head_norm_first": True}),
        ("convnext_atto", CONVNEXT),
    ],
)
def test_a_network_of_timm_is_a_teacher(tmp_path, name, options):
    """With a file that timm wrote; all tokens, or the map, before pooling."""
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3, **options).eval()
    torch.save(network.state_dict(), tmp_path / "timm.pth")
    cfg = tiny_distillation.model(tmp_path / "timm.pth", target="patches")
    cfg["teacher"]["backbone"] = {
        "type": "mmpretrain.TIMMBackbone",
        "model_name": name,
        **options,
    }
    model = MODELS.build(cfg)
    model.init_weights()
    (teacher,) = model.teachers
    images = torch.randn(2, 3, 32, 32)
    backbone = teacher.frozen.network["backbone"]
    tokens = tokens_of(backbone(images), backbone, (32, 32))
    network.reset_classifier(0, "")
    with torch.no_grad():
        expected = network(images)
    if name.startswith("swin"):
        expected = expected.flatten(1, 2)
    elif expected.dim() == 4:
        expected = expected.flatten(2).mT
    else:
        assert torch.equal(tokens.cls, expected[:, 0])
        expected = expected[:, 1:]
    torch.testing.assert_close(tokens.patches, expected)
    assert feature_width(backbone) == expected.shape[-1] == model.projectors[0].out_features
    assert teacher(images, model.statistics, (8, 8)).patches.shape[1] == 64


def changed(**options):
    """A config with another entry of the teacher."""
    cfg = tiny_distillation.model("teacher.pth")
    return {**cfg, "teacher": {**cfg["teacher"], **options}}


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        (changed(target="cls"), r"model\.teacher has target='cls'; it must be one of"),
        (changed(whiten="zca"), r"whiten='zca'; it must be one of"),
        (changed(target="logits"), "target='logits' and no head"),
        (changed(weight=0), "weight=0"),
        (changed(image_size=13), "image_size=13, which does not divide into its patches of 4 x 4"),
        (changed(mean=[0.0]), "one of each per channel"),
        (
            changed(backbone=tiny_distillation.clip_teacher()),
            r"of CLIP: mean=\[122\.771, .*std=\[68",
        ),
        (
            changed(
                backbone=tiny_distillation.clip_teacher(), mean=list(IMAGENET_MEAN), std=clip.STD
            ),
            "ImageNet's mean and std. Set those that it was trained with",
        ),
        (
            changed(
                backbone={
                    "type": "mmpretrain.VisionTransformer",
                    "arch": tiny_distillation.TEACHER_ARCH,
                    "img_size": 12,
                    "patch_size": 4,
                    "pre_norm": True,
                }
            ),
            "as CLIP's networks have",
        ),
        (changed(mean=[0.48, 0.46, 0.41], std=[0.27, 0.26, 0.28]), "Multiply them by 255"),
        (changed(network="both"), r"network='both'; it must be one of \('teacher', 'student'\)"),
        (changed(checkpoint=None), "set model.teacher.checkpoint to the file"),
        (changed(patch=3), "model.teacher has patch; it takes backbone, checkpoint"),
        (changed(backbone=tiny_distillation.teacher(in_channels=1)), "takes 1"),
        ({**changed(), "teachers": [{}]}, "and not both"),
        ({**changed(), "teacher": None}, r"needs model\.teacher=dict"),
        ({**changed(), "teacher": None, "teachers": [{}]}, r"model\.teachers\.0 has no backbone"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(cfg, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(cfg)


def test_a_file_of_another_network_is_refused(files):
    arch = {**tiny_distillation.TEACHER_ARCH, "num_layers": 3}
    cfg = tiny_distillation.model(files["dino"])
    cfg["teacher"]["backbone"] = tiny_distillation.teacher(arch=arch)
    with pytest.raises(ValueError, match=r"dino\.pth .* does not match VisionTransformer"):
        MODELS.build(cfg).init_weights()


def test_a_mean_that_is_not_that_of_the_file_is_refused(files, tmp_path):
    weights = torch.load(files["dino"])
    preprocessor = "dict(mean=[127.5, 127.5, 127.5], std=[60.0, 60.0, 60.0])"
    meta = {"cfg": f"model = dict(data_preprocessor={preprocessor})"}
    torch.save({"state_dict": weights, "meta": meta}, tmp_path / "run.pth")
    with pytest.raises(ValueError, match=r"Set model\.teacher\.mean=\[127\.5, "):
        MODELS.build(tiny_distillation.model(tmp_path / "run.pth")).init_weights()
    cfg = tiny_distillation.model(tmp_path / "run.pth", mean=[127.5] * 3, std=[60.0] * 3)
    model = tiny_distillation.loaded(cfg)
    images = views()[0]
    seen = []
    model.teachers[0].frozen.network["backbone"].register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    model([images], mode="loss")
    mean, std = (torch.tensor(values).double().view(3, 1, 1) for values in model.statistics)
    torch.testing.assert_close(seen[0], (images * std + mean - 127.5) / 60)


@pytest.mark.parametrize("change", [lambda t: t.train(), lambda t: t.requires_grad_()])
def test_a_teacher_that_is_trained_is_refused(files, change):
    model = tiny_distillation.loaded(tiny_distillation.model(files["dino"]))
    change(model.teachers[0].frozen.network)
    with pytest.raises(ValueError, match=r"model\.teacher is a frozen network, but .*optimiser"):
        model(views(), mode="loss")


@pytest.mark.parametrize(
    ("backbone", "options", "inputs", "message"),
    [
        ({"out_type": "cls_token"}, {}, views(), "has no grid to match"),
        (
            {},
            {"backbone": tiny_distillation.teacher(out_type="cls_token")},
            views(),
            "vectors alone",
        ),
        (
            {},
            {"backbone": tiny_distillation.teacher(out_type="featmap"), "target": "class_token"},
            views(),
            "target='pooled'",
        ),
        ({}, {}, views() + views(24), r"sizes \[\(12, 12\), \(24, 24\)\]"),
        ({}, {}, [], "at least one view"),
    ],
)
def test_outputs_that_cannot_be_compared_are_refused(files, backbone, options, inputs, message):
    cfg = tiny_distillation.model(files["dino"], tiny_distillation.student(**backbone))
    cfg["teacher"] |= options
    with pytest.raises(ValueError, match=message):
        tiny_distillation.loaded(cfg)(inputs, mode="loss")


def test_a_swin_of_a_swin_equals_the_reference(golden, tmp_path):
    """mmpretrain's networks, whose patch merging has another order of columns."""
    expected = golden("distillation_swin", "swin/")
    backbone = tiny_distillation.swin(1, expected)
    # As EsViT's authors write it.
    networks = {"student": golden("distillation_swin", "swin/teacher/"), "teacher": {}}
    torch.save(networks, tmp_path / "swin.pth")
    student = tiny_distillation.swin(2, expected)
    cfg = tiny_distillation.model(tmp_path / "swin.pth", student, network="student")
    cfg["teacher"]["backbone"] = backbone
    model = MODELS.build(cfg).double()
    model.teachers[0].frozen.network.double()
    tiny_distillation.refine_swin(model.backbone, int(expected["window_size"]))
    model.init_weights()

    parameters = dict(model.backbone.named_parameters())

    def in_our_names(prefix):
        found = golden("distillation_swin", f"swin/{prefix}/encoder.")
        decoder = golden("distillation_swin", f"swin/{prefix}/decoder.0.")
        renamed = swin.to_mmpretrain(found, parameters)
        return {f"backbone.{name}": tensor for name, tensor in renamed.items()} | {
            "projectors.0.weight": decoder["weight"].squeeze(-1),
            "projectors.0.bias": decoder["bias"],
        }

    weights = in_our_names("student")
    assert set(weights) == {name for name, _ in model.named_parameters()}
    model.load_state_dict(weights, strict=False)
    found = model.train()([expected["images"]], mode="loss")
    found["loss"].backward()
    target = model.teachers[0](expected["images"], model.statistics, (2, 2))
    (maps,) = model.backbone(expected["images"])
    tokens = {
        "target": target.patches,
        "student_features": maps.flatten(2).mT,
        "prediction": model.projectors[0](maps.flatten(2).mT),
        "loss": found["loss"],
    }
    assert target.cls is None
    for name, tensor in tokens.items():
        torch.testing.assert_close(tensor, expected[name], **CLOSE, msg=name)
    for name, gradient in in_our_names("grad").items():
        own = model.get_parameter(name).grad
        torch.testing.assert_close(own, gradient, **CLOSE, msg=name)

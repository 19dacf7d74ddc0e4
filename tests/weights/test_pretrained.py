"""``init_cfg=dict(type="Pretrained", ...)`` of our backbones is strict."""

from __future__ import annotations

import pytest
import tiny_run
import tiny_weights
import torch
from mmengine.registry import MODELS

from mmdino.weights.layouts import authors_vit

VIT = tiny_run.vit_model()["backbone"]


def build(checkpoint=None, vit=VIT, **init):
    if checkpoint is not None:
        init = {"type": "Pretrained", "checkpoint": str(checkpoint), **init}
    backbone = MODELS.build({**vit, "init_cfg": init or None})
    backbone.init_weights()
    return backbone


@pytest.fixture(scope="module")
def dino():
    torch.manual_seed(0)
    model = MODELS.build(tiny_run.vit_model())
    model.init_weights()
    with torch.no_grad():
        model.teacher["backbone"].cls_token += 1
    return model


@pytest.fixture
def checkpoint(dino, tmp_path):
    """A training checkpoint whose teacher and student differ."""
    path = tmp_path / "epoch_1.pth"
    torch.save({"state_dict": dino.state_dict()}, path)
    return path


def test_the_teacher_is_taken_with_or_without_prefix(dino, checkpoint):
    expected = dino.teacher["backbone"].state_dict()
    for backbone in (build(checkpoint), build(checkpoint, prefix="teacher.backbone.")):
        torch.testing.assert_close(dict(backbone.state_dict()), dict(expected))


def test_the_student_is_taken_where_asked_for(dino, checkpoint):
    for init in ({"network": "student"}, {"prefix": "backbone."}):
        found = build(checkpoint, **init)
        assert torch.equal(found.cls_token, dino.backbone.cls_token)


def test_within_a_list_of_init_cfgs(dino, checkpoint):
    entries = [{"type": "Constant", "layer": "Conv2d", "val": 0}]
    entries.append({"type": "Pretrained", "checkpoint": str(checkpoint)})
    backbone = MODELS.build({**VIT, "init_cfg": entries})
    backbone.init_weights()
    assert torch.equal(backbone.cls_token, dino.teacher["backbone"].cls_token)


def test_position_embeddings_of_another_length_are_resized(dino, checkpoint):
    backbone = build(checkpoint, vit={**VIT, "img_size": 64})
    assert backbone.pos_embed.shape == (1, 65, 12)
    images = torch.randn(2, 3, 64, 64)
    # As the network of the pretraining resizes them in its forward pass, with the authors' offset.
    torch.testing.assert_close(backbone(images), dino.teacher["backbone"](images))


@pytest.mark.parametrize("wanted", [32, 64, (64, 16), (24, 48), (16, 64)])
@pytest.mark.parametrize("size", [(16, 64), 32])
def test_positions_of_a_grid_are_resized_from_that_grid(tmp_path, size, wanted):
    """2 x 8, 4 x 4 and 8 x 2 patches are equally many."""
    cfg = tiny_run.vit_model(backbone={**VIT, "img_size": size})
    model = MODELS.build(cfg)
    tiny_weights.randomise(model)
    tiny_weights.save_training_checkpoint(tmp_path / "epoch_1.pth", model, cfg)
    backbone = build(tmp_path / "epoch_1.pth", vit={**VIT, "img_size": wanted})
    shape = wanted if isinstance(wanted, tuple) else (wanted, wanted)
    images = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    expected = model.teacher["backbone"].eval()(images)
    torch.testing.assert_close(backbone.eval()(images), expected)


def test_positions_of_as_many_patches_are_kept_where_no_config_tells_the_grid(tmp_path):
    vit = {**VIT, "img_size": (16, 64)}
    state = build(vit=vit).state_dict()
    torch.save(state, tmp_path / "vit.pth")
    assert torch.equal(build(tmp_path / "vit.pth", vit=vit).pos_embed, state["pos_embed"])


def test_without_final_norm_the_files_is_left(checkpoint):
    assert "ln1.weight" not in build(checkpoint, vit={**VIT, "final_norm": False}).state_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arch": {**tiny_run.ARCH, "num_layers": 3}}, "missing: layers.2.ln1.weight"),
        ({"arch": {**tiny_run.ARCH, "num_layers": 1}}, "unexpected: layers.1.ln1.weight"),
        ({"patch_size": 16}, "of another shape: patch_embed.projection.weight"),
    ],
)
def test_weights_of_another_network_are_refused(checkpoint, change, message):
    with pytest.raises(ValueError, match="does not match VisionTransformer") as error:
        build(checkpoint, vit={**VIT, **change})
    assert message in str(error.value)


def test_a_prefix_that_nothing_has_is_refused(checkpoint):
    with pytest.raises(ValueError, match=r"begins with 'backbon\.'; prefixes are backbone\."):
        build(checkpoint, prefix="backbon.")


def test_a_missing_file_is_named_with_the_way_out(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.pth.*init_cfg=None for an untrained"):
        build(tmp_path / "no.pth")


def test_an_entry_without_a_type_is_explained():
    with pytest.raises(ValueError, match=r"has no type\. To load weights, add type='Pretrained'"):
        build(None, vit=VIT, checkpoint_without_type="a.pth")


def test_an_unknown_key_is_refused(checkpoint):
    with pytest.raises(ValueError, match=r"not \['perfix'\]"):
        build(checkpoint, perfix="backbone.")


def test_a_student_started_so_starts_the_teacher_too(dino, checkpoint):
    init = {"type": "Pretrained", "checkpoint": str(checkpoint)}
    model = MODELS.build(tiny_run.vit_model(backbone={**VIT, "init_cfg": init}))
    model.init_weights()
    expected = dino.teacher["backbone"].cls_token
    for backbone in (model.backbone, model.teacher["backbone"]):
        assert torch.equal(backbone.cls_token, expected)


V3 = {**tiny_weights.VIT, "patch_size": 8, **tiny_weights.DINOV3["dinov3"], "local_norm": True}


@pytest.fixture
def v3_file(tmp_path):
    """A file in the authors' names, with mask token and the norm of local views."""
    vit = tiny_weights.vit(**{**tiny_weights.DINOV3["dinov3"], "local_norm": True})
    torch.save(authors_vit.from_mmdino(vit.state_dict()), tmp_path / "v3.pth")
    return tmp_path / "v3.pth"


def test_a_network_without_mask_token_and_norm_of_local_views_leaves_them(v3_file):
    less = build(v3_file, vit={**V3, "mask_token": False, "local_norm": False})
    more = build(v3_file, vit=V3)
    assert more.mask_token.abs().min() > 0
    assert more.local_ln1.weight.ne(1).all()
    assert less.state_dict().keys() == more.state_dict().keys() - {
        "mask_token",
        "local_ln1.weight",
        "local_ln1.bias",
    }
    images = torch.randn(1, 3, 16, 32)
    assert torch.equal(less.eval()(images)[0], more.eval()(images)[0])


def test_a_mask_token_that_a_file_lacks_keeps_its_start(checkpoint):
    assert build(checkpoint, vit={**VIT, "mask_token": True}).mask_token.abs().max() == 0


@pytest.fixture
def logged(monkeypatch):
    lines = []
    monkeypatch.setattr("mmdino.weights.pretrained.print_log", lambda text, **_: lines.append(text))
    return lines


def test_options_that_no_tensor_shows_are_compared(v3_file, logged):
    build(v3_file, vit=V3)
    assert len(logged) == 1
    build(v3_file, vit={**V3, "norm_cfg": {"type": "LN", "eps": 1e-6}})
    assert "it has layer-norm eps 1e-06 instead of 1e-05." in logged[-1]


def test_resizing_of_positions_is_compared(tmp_path, logged):
    vit = tiny_weights.vit(**tiny_weights.DINOV2["dinov2_registers"])
    torch.save(authors_vit.from_mmdino(vit.state_dict()), tmp_path / "a.pth")
    plain = {**tiny_weights.VIT, "patch_size": 8, **tiny_weights.MORE, "num_registers": 3}
    build(tmp_path / "a.pth", vit=plain)
    assert "pos_embed_offset 0.1 instead of 0.0" in logged[-1]
    assert "pos_embed_antialias False instead of True" in logged[-1]
    logged.clear()
    build(tmp_path / "a.pth", vit={**plain, "pos_embed_offset": 0, "pos_embed_antialias": True})
    assert len(logged) == 1

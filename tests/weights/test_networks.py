"""A backbone is found in any weight file, and computes the same features."""

from __future__ import annotations

import pytest
import tiny_run
import tiny_weights
import torch
import torchvision
from mmengine.registry import MODELS
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from converters.conversion import convert_backbone, write_backbone
from mmdino.evaluation.features import feature_of
from mmdino.weights.files import write_tensors
from mmdino.weights.layouts import authors_vit
from mmdino.weights.networks import (
    backbone_weights,
    build_backbone,
    load_backbone,
    untrained_like,
)

IMAGES = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model():
    return tiny_weights.dino()


@pytest.fixture
def checkpoint(tmp_path, model):
    return tiny_weights.save_training_checkpoint(tmp_path / "epoch_2.pth", model)


@pytest.mark.parametrize("network", ["teacher", "student"])
def test_training_checkpoint(model, checkpoint, network):
    backbone = load_backbone(checkpoint, network)
    torch.testing.assert_close(feature_of(backbone, IMAGES), model.extract_feat(IMAGES, network))
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_the_teacher_is_the_default(checkpoint):
    assert backbone_weights(checkpoint).network == "teacher"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_extracted_file_says_its_number_of_heads(tmp_path, model, checkpoint, suffix):
    weights = backbone_weights(checkpoint)
    write_backbone(tmp_path / f"teacher{suffix}", "mmdino", weights, weights.state_dict)
    extracted = backbone_weights(tmp_path / f"teacher{suffix}")
    assert extracted.config == weights.config
    assert (extracted.network, extracted.heads_from) == ("teacher", "from the file")
    features = feature_of(load_backbone(tmp_path / f"teacher{suffix}"), IMAGES)
    torch.testing.assert_close(features, model.extract_feat(IMAGES))


@pytest.mark.parametrize("wrap_teacher", [False, True])
@pytest.mark.parametrize("network", ["teacher", "student"])
def test_authors_full_file(tmp_path, model, network, wrap_teacher):
    path = tiny_weights.save_authors_full(tmp_path / "full.pth", model, wrap_teacher)
    backbone = load_backbone(path, network, num_heads=2)
    torch.testing.assert_close(feature_of(backbone, IMAGES), model.extract_feat(IMAGES, network))


def test_authors_backbone_file(tmp_path, golden):
    """The reference's tensors give the reference's features."""
    torch.save(golden("vit", "p8/param/"), tmp_path / "vit.pth")
    backbone = load_backbone(tmp_path / "vit.pth", num_heads=2).double()
    reference = golden("vit", "p8/wide/")
    torch.testing.assert_close(
        feature_of(backbone, reference["input"]), reference["cls"], rtol=0, atol=1e-6
    )


def test_resnet_of_the_authors(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18().eval()
    torch.save({f"module.{name}": t for name, t in theirs.state_dict().items()}, tmp_path / "r.pth")
    weights = backbone_weights(tmp_path / "r.pth")
    assert weights.kind == "resnet"
    assert weights.unused == ("fc.weight", "fc.bias")
    theirs.fc = torch.nn.Identity()
    features = feature_of(load_backbone(tmp_path / "r.pth"), IMAGES)
    torch.testing.assert_close(features, theirs(IMAGES))


@pytest.mark.parametrize("with_decoder", [False, True])
def test_files_of_deit_and_mae(tmp_path, golden, with_decoder):
    """Under "model", with a classifier, or the decoder of MAE and its mask token."""
    tensors = golden("vit", "p16/param/")
    beside = {"head.weight": torch.ones(10, 8), "head.bias": torch.ones(10)}
    if with_decoder:
        beside = {
            "mask_token": torch.ones(1, 1, 5),
            "decoder_embed.weight": torch.ones(5, 8),
            "decoder_blocks.0.norm1.weight": torch.ones(5),
        }
    torch.save({"model": {**tensors, **beside}}, tmp_path / "model.pth")
    weights = backbone_weights(tmp_path / "model.pth", num_heads=2)
    assert weights.unused == tuple(beside)
    assert "mask_token" not in weights.config
    build_backbone(weights.config, weights.state_dict)


def test_mae_of_huggingface(tmp_path):
    """Its encoder gives the patches in an order of its own, and where they were."""
    config = ViTMAEConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        decoder_hidden_size=16,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        mask_ratio=0.0,
    )
    mae = ViTMAEForPreTraining(config).eval()
    tiny_weights.randomise(mae)
    mae.save_pretrained(tmp_path)
    backbone = load_backbone(tmp_path)
    backbone.out_type = "features"
    images = IMAGES[..., :32]
    with torch.no_grad():
        out = mae.vit(images)
        found = backbone(images)[-1]
    order = out.ids_restore.unsqueeze(-1).expand(-1, -1, 16)
    expected = out.last_hidden_state
    torch.testing.assert_close(found.cls, expected[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(found.patches, expected[:, 1:].gather(1, order), rtol=0, atol=1e-5)


def test_huggingface_folder(tmp_path, model, checkpoint):
    weights = backbone_weights(checkpoint)
    tensors = convert_backbone(weights, "huggingface")
    write_backbone(tmp_path / "hf", "huggingface", weights, tensors)
    features = feature_of(load_backbone(tmp_path / "hf"), IMAGES)
    torch.testing.assert_close(features, model.extract_feat(IMAGES))


def test_one_backbone_of_another_run(tmp_path):
    """Checkpoints of a fine-tuned classifier, and of a model with a nested frozen backbone."""
    vit = tiny_weights.vit()
    for prefix in ("backbone.", "backbone.backbone."):
        state = {f"{prefix}{name}": value for name, value in vit.state_dict().items()}
        state["head.layers.head.weight"] = torch.zeros(3, 12)
        torch.save({"state_dict": state}, tmp_path / "classifier.pth")
        loaded = load_backbone(tmp_path / "classifier.pth", num_heads=2)
        torch.testing.assert_close(feature_of(loaded, IMAGES), feature_of(vit, IMAGES))


def test_mmpretrains_vit_keeps_its_way_of_resizing_positions(tmp_path):
    cfg = tiny_weights.VIT | {"type": "VisionTransformer", "patch_size": 8}
    theirs = MODELS.build(cfg)
    theirs.eval()
    tiny_weights.randomise(theirs)
    state = {f"backbone.{name}": value for name, value in theirs.state_dict().items()}
    text = f"model = dict(backbone={cfg!r}, head=dict(type='LinearClsHead'))"
    torch.save({"state_dict": state, "meta": {"cfg": text}}, tmp_path / "a.pth")
    loaded = load_backbone(tmp_path / "a.pth")
    torch.testing.assert_close(feature_of(loaded, IMAGES), theirs(IMAGES)[-1])


def test_prefix_selects_and_a_wrong_one_is_refused(tmp_path, model, checkpoint):
    student = backbone_weights(checkpoint, prefix="backbone.")
    assert student.network == "student"
    assert torch.equal(student.state_dict["cls_token"], model.backbone.cls_token)
    with pytest.raises(ValueError, match=r"begins with 'encoder\.'; prefixes are backbone\."):
        backbone_weights(checkpoint, prefix="encoder.")
    with pytest.raises(ValueError, match="Omit one of the two"):
        backbone_weights(checkpoint, "student", prefix="backbone.")
    full = tiny_weights.save_authors_full(tmp_path / "full.pth", model)
    teacher = backbone_weights(full, prefix="teacher.backbone.", num_heads=2).state_dict
    assert torch.equal(teacher["cls_token"], model.teacher["backbone"].cls_token)


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_the_file_of_a_compiled_network_is_read(tmp_path, wrapper):
    state = tiny_weights.vit().state_dict()
    torch.save({f"{wrapper}{name}": t for name, t in state.items()}, tmp_path / "vit.pth")
    found = backbone_weights(tmp_path / "vit.pth", num_heads=2).state_dict
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_token_for_distillation_is_named(tmp_path):
    state = tiny_weights.authors_names(tiny_weights.vit().state_dict())
    positions = torch.zeros(1, state["pos_embed"].shape[1] + 1, 12)
    tokens = {"dist_token": torch.zeros(1, 1, 12), "pos_embed": positions}
    torch.save(state | tokens, tmp_path / "deit.pth")
    with pytest.raises(ValueError, match="distilled with a token of its own, dist_token"):
        backbone_weights(tmp_path / "deit.pth", num_heads=2)


def test_heads_of_published_widths_are_assumed_and_others_asked_for(tmp_path):
    arch = tiny_run.ARCH | {"embed_dims": 128, "num_heads": 2}
    wide = tiny_weights.vit(arch=arch)
    write_tensors(tmp_path / "wide.pth", wide.state_dict())
    assert "assumed" in backbone_weights(tmp_path / "wide.pth").heads_from
    write_tensors(tmp_path / "narrow.pth", tiny_weights.vit().state_dict())
    with pytest.raises(ValueError, match="width 12 is not a multiple of 64"):
        backbone_weights(tmp_path / "narrow.pth")
    with pytest.raises(ValueError, match="num_heads=5 does not divide"):
        backbone_weights(tmp_path / "narrow.pth", num_heads=5)


def test_heads_that_contradict_the_file_are_refused(checkpoint):
    with pytest.raises(ValueError, match="2 heads according to the file, but num_heads=3"):
        backbone_weights(checkpoint, num_heads=3)


def test_a_student_that_is_not_there(tmp_path):
    write_tensors(tmp_path / "a.pth", tiny_weights.vit().state_dict())
    with pytest.raises(ValueError, match="has only one backbone, no student"):
        backbone_weights(tmp_path / "a.pth", "student", num_heads=2)
    with pytest.raises(ValueError, match="invalid network='ema'"):
        backbone_weights(tmp_path / "a.pth", "ema")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layers.1.ln2.bias"), r"1 missing: layers\.1\.ln2\.bias"),
        (lambda state: state.update(dist_token=torch.zeros(1)), "1 unexpected: dist_token"),
        (lambda state: state.update({"ln1.bias": torch.zeros(3)}), r"ln1\.bias \(3,\) instead of"),
        (lambda state: state.pop("pos_embed"), "looks like a ViT, but it lacks pos_embed"),
    ],
)
def test_mismatches_are_named(tmp_path, change, message):
    state = tiny_weights.vit().state_dict()
    change(state)
    write_tensors(tmp_path / "a.pth", state)
    with pytest.raises(ValueError, match=message):
        load_backbone(tmp_path / "a.pth", num_heads=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3}, "has no named tensors, but epoch"),
        ({"embedding.weight": torch.zeros(2, 2)}, "The 1 tensors of .* are of no known backbone"),
    ],
)
def test_files_without_a_backbone(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        load_backbone(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "cfg",
    [
        tiny_weights.VIT | {"patch_size": 8},
        {"type": "mmdino.ResNet", "depth": 18, "base_channels": 8, "out_indices": (3,)},
    ],
)
def test_untrained_is_the_start_of_pretraining_from_its_seed(cfg):
    backbone = MODELS.build(cfg)
    tiny_weights.randomise(backbone)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    first, again, other = (untrained_like(backbone, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())
    torch.manual_seed(3)
    start = MODELS.build(cfg)
    start.init_weights()
    for name, tensor in start.state_dict().items():
        if len(tensor.unique()) > 1:
            assert not torch.equal(first[name], other[name])
            few = tensor.numel() < 100
            assert first[name].std() == pytest.approx(tensor.std().item(), rel=1 if few else 0.2)
        else:
            assert torch.equal(first[name], tensor)


def test_untrained_leaves_the_callers_random_numbers_alone():
    backbone = tiny_weights.vit()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    untrained_like(backbone, seed=5)
    assert torch.equal(torch.rand(3), expected)


def test_what_starts_from_a_file_has_no_untrained_like():
    init_cfg = {"type": "Pretrained", "checkpoint": "vit.pth"}
    with pytest.raises(ValueError, match="no random initialisation"):
        untrained_like(tiny_weights.vit(init_cfg=init_cfg))


def test_build_backbone_refuses_tensors_of_another_network():
    with pytest.raises(
        ValueError, match=r"The file does not match the inferred mmdino\.VisionTransformer"
    ):
        build_backbone(tiny_weights.VIT | {"patch_size": 8}, {"cls_token": torch.zeros(1, 1, 12)})


MORE = {**tiny_weights.DINOV2, **tiny_weights.DINOV3}


@pytest.mark.parametrize("name", MORE)
@pytest.mark.parametrize("kind", ["teacher", "model"])
def test_training_files_of_dinov2_and_dinov3(tmp_path, name, kind):
    """The teacher alone, or student and teacher in one dict; blocks in chunks, and heads."""
    networks = {which: tiny_weights.vit(**MORE[name]) for which in ("teacher", "student")}
    with torch.no_grad():
        networks["student"].cls_token += 1
    tensors = {}
    for which, vit in networks.items():
        for key, tensor in authors_vit.from_mmdino(vit.state_dict()).items():
            chunked = key.replace("blocks.0.", "blocks.0.0.").replace("blocks.1.", "blocks.1.1.")
            tensors[f"{which}.backbone.{chunked}"] = tensor
        tensors[f"{which}.dino_head.last_layer.weight_g"] = torch.ones(3, 1)
    if kind == "teacher":
        teacher = {
            key.removeprefix("teacher."): tensor
            for key, tensor in tensors.items()
            if key.startswith("teacher.")
        }
        torch.save({"teacher": teacher}, tmp_path / "a.pth")
    else:
        torch.save({"model": tensors, "iteration": 7}, tmp_path / "a.pth")
    for which in ("teacher", "student")[: 1 if kind == "teacher" else 2]:
        loaded = load_backbone(tmp_path / "a.pth", which, num_heads=2)
        expected = networks[which](IMAGES)[-1]
        torch.testing.assert_close(feature_of(loaded, IMAGES), expected)


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("plain", {}),
        ("registers", {"pos_embed_offset": 0.0, "pos_embed_antialias": True}),
        ("swiglu", {"ffn": "swiglu"}),
    ],
)
def test_published_files_of_dinov2_give_the_references_features(tmp_path, golden, case, options):
    torch.save(golden("dinov2_vit", f"{case}/param/"), tmp_path / "vit.pth")
    weights = backbone_weights(tmp_path / "vit.pth", num_heads=2)
    assert weights.config.items() >= {**options, "mask_token": True}.items()
    assert weights.unused == ()
    backbone = load_backbone(tmp_path / "vit.pth", num_heads=2).double()
    for shape in ("same", "wide"):
        reference = golden("dinov2_vit", f"{case}/{shape}/")
        found = feature_of(backbone, reference["input"].double())
        torch.testing.assert_close(found, reference["cls"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", ["mlp", "swiglu"])
def test_published_files_of_dinov3_say_their_heads(tmp_path, golden, case):
    torch.save(golden("dinov3_vit", f"{case}/param/"), tmp_path / "vit.pth")
    weights = backbone_weights(tmp_path / "vit.pth")
    assert (weights.config["arch"]["num_heads"], weights.heads_from) == (2, "from the file")
    backbone = load_backbone(tmp_path / "vit.pth").double()
    for shape in ("same", "wide"):
        reference = golden("dinov3_vit", f"{case}/{shape}/")
        found = feature_of(backbone, reference["input"].double())
        torch.testing.assert_close(found, reference["cls"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MORE)
def test_extracted_files_of_dinov2_and_dinov3(tmp_path, name):
    """Options that no tensor shows are those of the run, not those of published networks."""
    options = {**MORE[name], "norm_cfg": {"type": "LN", "eps": 1e-4}, "pos_embed_offset": 0.3}
    vit = tiny_weights.vit(**options)
    cfg = {"backbone": {**tiny_weights.VIT, "patch_size": 8, **options}}
    path = tiny_weights.save_training_checkpoint(
        tmp_path / "a.pth", torch.nn.ModuleDict({"backbone": vit}), cfg
    )
    weights = backbone_weights(path)
    write_backbone(tmp_path / "b.pth", "mmdino", weights, weights.state_dict)
    assert backbone_weights(tmp_path / "b.pth").config == weights.config
    found = feature_of(load_backbone(tmp_path / "b.pth"), IMAGES)
    torch.testing.assert_close(found, vit(IMAGES)[-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position_encoding.periods": torch.tensor([2.0, 7.0])}, "not the powers of a base"),
        ({"position_encoding.periods": torch.ones(2, 2)}, "its tensors have the shapes"),
        ({"position_encoding.periods": torch.ones(0)}, "not the powers of a base|damaged"),
        ({"position_encoding.periods": torch.ones(3)}, "for heads of 12 channels"),
        ({"register_tokens": torch.zeros(4, 16)}, "its tensors have the shapes"),
        ({"mask_token": torch.zeros(16)}, "its tensors have the shapes"),
        ({"layers.0.attn.qkv.bias": torch.zeros(47)}, r"layers\.0\.attn\.qkv\.bias \(47,\)"),
        ({"layers.1.attn.gamma1.weight": None}, r"1 missing: layers\.1\.attn\.gamma1\.weight"),
        ({"cls_norm.weight": torch.zeros(16)}, r"1 unexpected: cls_norm\.weight"),
        ({"layers.0.ffn.w3.weight": torch.zeros(16, 47)}, "47 wide; supported are multiples of 8"),
        ({"layers.0.ffn.w3.weight": torch.zeros(16)}, "its tensors have the shapes"),
    ],
)
def test_damaged_files_of_dinov3_say_what_is_wrong(tmp_path, change, message):
    state = tiny_weights.vit(**MORE["dinov3"]).state_dict() | change
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        load_backbone(tmp_path / "a.pth")


def test_the_heads_of_periods_are_not_to_be_contradicted(tmp_path):
    torch.save(tiny_weights.vit(**MORE["dinov3"]).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="2 heads according to the file, but num_heads=4"):
        load_backbone(tmp_path / "a.pth", num_heads=4)

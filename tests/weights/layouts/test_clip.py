"""The image tower of CLIP is read from the files of OpenAI, open_clip, timm and Hugging Face."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import timm
import tiny_weights
import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel

from mmdino.weights.layouts import clip, huggingface_clip
from mmdino.weights.networks import backbone_weights, build_backbone

CONVERT = Path(__file__).parents[3] / "tools" / "model_converters" / "convert.py"
VISION = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
TEXT = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 9,
}


def images():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def all_tokens(backbone):
    backbone.out_type = "raw"
    return backbone(images())[-1]


def test_openais_names_are_read_beside_the_text_tower(golden, tmp_path):
    """Features are compared with the reference in tests/models/selfsup."""
    tensors = golden("distillation", "clip/teacher/")
    numbers = {name: torch.tensor(12) for name in clip.COUNTERS}
    text = {"token_embedding.weight": torch.ones(3, 4), "logit_scale": torch.tensor(4.6)}
    torch.save(tensors | text | numbers, tmp_path / "clip.pt")
    weights = backbone_weights(tmp_path / "clip.pt", num_heads=2)
    assert weights.config["pre_norm"]
    assert weights.config["ffn"] == "mlp_quick_gelu"
    assert weights.config["norm_cfg"]["eps"] == 1e-5
    assert weights.project == "clip"
    assert weights.unused == ("proj", *clip.COUNTERS)
    assert "QuickGELU (as in OpenAI's networks)" in str(weights)
    build_backbone(weights.config, weights.state_dict)
    # As open_clip's training writes it.
    state = {f"module.{name}": tensor for name, tensor in (tensors | text).items()}
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "open_clip.pt")
    other = backbone_weights(tmp_path / "open_clip.pt", num_heads=2)
    assert other.config == weights.config
    assert all(torch.equal(t, weights.state_dict[n]) for n, t in other.state_dict.items())


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_openais_archive_of_code_is_read(golden, tmp_path):
    """In half precision, as OpenAI saves it."""
    tensors = golden("distillation", "clip/teacher/")
    model = nn.Module()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        owner = model
        for part in path:
            if not hasattr(owner, part):
                owner.add_module(part, nn.Module())
            owner = getattr(owner, part)
        owner.register_parameter(last, nn.Parameter(tensor.half()))
    model.register_buffer("input_resolution", torch.tensor(12))
    torch.jit.script(model).save(str(tmp_path / "ViT.pt"))
    torch.save(tensors, tmp_path / "plain.pt")
    found, expected = (
        backbone_weights(tmp_path / name, num_heads=2) for name in ("ViT.pt", "plain.pt")
    )
    assert found.config == expected.config
    assert found.state_dict.keys() == expected.state_dict.keys()
    for name, tensor in expected.state_dict.items():
        assert torch.equal(found.state_dict[name], tensor.half()), name


def test_heads_of_open_clips_larger_networks_are_not_64_wide():
    assert clip.released_options(1280)["arch"] == {"num_heads": 16}
    assert "arch" not in clip.released_options(1024)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("whole", [False, True])
def test_features_are_hugging_faces(tmp_path, activation, whole):
    """Of a folder that save_pretrained wrote, of the tower alone or of the whole CLIP."""
    vision = CLIPVisionConfig(**VISION, hidden_act=activation)
    model = CLIPVisionModel(vision)
    if whole:
        model = CLIPModel(CLIPConfig(vision_config=vision.to_dict(), text_config=TEXT))
    tiny_weights.randomise(model)
    model.eval().save_pretrained(tmp_path)
    tower = model.vision_model if whole else model
    weights = backbone_weights(tmp_path)
    assert weights.heads_from == "from the file"
    ours = build_backbone(weights.config, weights.state_dict)
    with torch.no_grad():
        expected = tower.post_layernorm(tower(images()).last_hidden_state)
        torch.testing.assert_close(all_tokens(ours), expected, rtol=0, atol=2e-5)


def test_a_file_of_hugging_face_without_its_config(tmp_path):
    """Names of published files, with the numbers of positions that older versions saved."""
    state = CLIPVisionModel(CLIPVisionConfig(**VISION)).state_dict()
    state["embeddings.position_ids"] = torch.arange(17)
    state = {f"vision_model.{name}": tensor for name, tensor in state.items()}
    torch.save(state, tmp_path / "clip.bin")
    weights = backbone_weights(tmp_path / "clip.bin", num_heads=4)
    assert weights.unused == ("embeddings.position_ids",)
    build_backbone(weights.config, weights.state_dict)


@pytest.mark.parametrize(
    "config",
    [{"model_type": "siglip"}, {"model_type": "clip", "vision_config": {"hidden_act": "relu"}}],
)
def test_configs_of_other_models_are_refused(config):
    with pytest.raises(ValueError, match="expected model_type 'clip'"):
        huggingface_clip.backbone_config(config)


@pytest.mark.parametrize(
    ("name", "classes", "gelu", "source"),
    [
        ("vit_base_patch16_clip_quickgelu_224", 0, None, "QuickGELU (assumed, .* --gelu exact"),
        ("vit_base_patch16_clip_quickgelu_224", 512, None, "QuickGELU (assumed, .* --gelu exact"),
        ("vit_base_patch16_clip_224", 1000, None, " GELU (assumed, .* --gelu quick for"),
        ("vit_base_patch16_clip_224", 512, "exact", " GELU (as given)"),
    ],
)
def test_features_are_timms(tmp_path, name, classes, gelu, source):
    model = timm.create_model(name, depth=2, embed_dim=64, num_heads=1, num_classes=classes).eval()
    tiny_weights.randomise(model)
    torch.save(model.state_dict(), tmp_path / "timm.pth")
    weights = backbone_weights(tmp_path / "timm.pth", gelu=gelu)
    assert re.search(source.replace("(", r"\(").replace(")", r"\)"), str(weights))
    ours = build_backbone(weights.config, weights.state_dict)
    with torch.no_grad():
        view = torch.nn.functional.interpolate(images(), 224)
        ours.out_type = "raw"
        expected = model.forward_features(view)
        torch.testing.assert_close(ours(view)[-1], expected, rtol=0, atol=2e-5)


def test_the_gelu_is_given_where_no_file_says_it(golden, tmp_path, capsys):
    """Into a file of this project, which every tool believes."""
    torch.save(golden("distillation", "clip/teacher/"), tmp_path / "clip.pt")
    paths = [str(tmp_path / "clip.pt"), str(tmp_path / "ours.pth")]
    runpy.run_path(str(CONVERT))["main"](
        [*paths, "--to", "mmdino", "--num-heads", "2", "--gelu", "exact"]
    )
    assert " GELU (as given)" in capsys.readouterr().out
    weights = backbone_weights(tmp_path / "ours.pth")
    assert weights.config.get("ffn", "mlp") == "mlp"
    assert weights.gelu_from == ""
    with pytest.raises(ValueError, match="the file says its GELU, or is no CLIP"):
        backbone_weights(tmp_path / "ours.pth", gelu="exact")
    with pytest.raises(ValueError, match="invalid gelu='new': expected 'exact' or 'quick'"):
        backbone_weights(tmp_path / "clip.pt", num_heads=2, gelu="new")

"""A ViT of any shape goes to another project's names and back, or is refused."""

from __future__ import annotations

import pytest
import tiny_weights
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.conversion import convert_backbone, write_backbone
from mmdino.weights.files import write_tensors
from mmdino.weights.networks import backbone_weights

TARGETS = {"authors": "out.pth", "timm": "out.safetensors", "huggingface": "out"}
SETTINGS = settings(
    derandomize=True,
    deadline=None,
    max_examples=15,
    # The folder is the same for all examples: each overwrites the file.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def vits(draw):
    """Options of a small ViT."""
    heads = draw(st.integers(1, 3))
    patch = draw(st.integers(1, 8))
    return {
        "arch": {
            "embed_dims": heads * draw(st.integers(1, 4)) * 2,
            "num_layers": draw(st.integers(1, 3)),
            "num_heads": heads,
            "feedforward_channels": draw(st.integers(1, 20)),
        },
        "patch_size": patch,
        "img_size": patch * draw(st.integers(1, 4)),
        "in_channels": draw(st.integers(1, 4)),
        "qkv_bias": draw(st.booleans()),
    }


@SETTINGS
@given(options=vits(), project=st.sampled_from(sorted(TARGETS)))
def test_a_vit_comes_back(tmp_path, options, project):
    heads = options["arch"]["num_heads"]
    state = tiny_weights.vit(**options).state_dict()
    write_tensors(tmp_path / "vit.pth", state)
    weights = backbone_weights(tmp_path / "vit.pth", num_heads=heads)
    for name in ("img_size", "patch_size", "in_channels", "arch"):
        assert weights.config[name] == options[name]
    tensors = convert_backbone(weights, project)
    write_backbone(tmp_path / TARGETS[project], project, weights, tensors)
    back = backbone_weights(tmp_path / TARGETS[project], num_heads=heads).state_dict
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@SETTINGS
@given(data=st.data())
def test_a_file_with_spoilt_tensors_is_refused_or_matches(tmp_path, data):
    state = tiny_weights.vit().state_dict()
    for name in data.draw(st.sets(st.sampled_from(sorted(state)), min_size=1, max_size=3)):
        kind = data.draw(st.sampled_from(["missing", "renamed", "axis", "scalar", "nan", "int"]))
        tensor = state.pop(name)
        spoilt = {
            "renamed": {f"{name}.more": tensor},
            "axis": {name: tensor[None]},
            "scalar": {name: torch.tensor(1.0)},
            "nan": {name: tensor * float("nan")},
            "int": {name: tensor.long()},
        }
        state |= spoilt.get(kind, {})
    write_tensors(tmp_path / "vit.pth", state)
    init_cfg = {"type": "Pretrained", "checkpoint": str(tmp_path / "vit.pth")}
    vit = tiny_weights.vit(init_cfg=init_cfg)
    with pytest.raises(ValueError, match=r"vit\.pth|looks like a ViT"):
        vit.init_weights()

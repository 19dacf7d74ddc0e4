"""The names of the authors' ViT are converted and back."""

from __future__ import annotations

import pytest
import tiny_weights
import torch

from mmdino.weights.layouts import authors_vit


def test_the_references_names_come_back(golden):
    tensors = golden("vit", "p8/param/")
    ours = authors_vit.to_mmdino(tensors)
    assert ours.keys() == tiny_weights.vit().state_dict().keys()
    back = authors_vit.from_mmdino(ours)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_names_are_those_spelled_out():
    state = tiny_weights.vit().state_dict()
    spelled = tiny_weights.authors_names(state)
    converted = authors_vit.from_mmdino(state)
    assert all(converted[name] is tensor for name, tensor in spelled.items())
    assert len(converted) == len(spelled)


CASES = [("dinov2_vit", case) for case in ("plain", "registers", "swiglu", "no_scale")]
CASES += [("dinov3_vit", case) for case in ("mlp", "swiglu")]


@pytest.mark.parametrize(("file", "case"), CASES)
def test_the_names_of_dinov2_and_dinov3_come_back(golden, file, case):
    tensors = golden(file, f"{case}/param/")
    back = authors_vit.from_mmdino(authors_vit.to_mmdino(tensors))
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        # What a mask hides becomes 0.
        assert torch.equal(back[name], tensor * tensors.get(f"{name}_mask", 1)), name


def test_chunks_of_blocks_are_names_only(golden):
    tensors = golden("dinov2_vit", "swiglu/param/")
    chunked = {name.replace("blocks.", "blocks.0."): tensor for name, tensor in tensors.items()}
    chunked = {n.replace("blocks.0.1.", "blocks.1.1."): tensor for n, tensor in chunked.items()}
    assert "blocks.1.1.mlp.w12.weight" in chunked
    assert authors_vit.has_names(chunked)
    found, expected = map(authors_vit.to_mmdino, (chunked, tensors))
    assert found.keys() == expected.keys()
    assert all(found[name] is tensor for name, tensor in expected.items())


def test_a_mask_of_something_else_is_refused(golden):
    tensors = golden("dinov3_vit", "mlp/param/")
    name = "blocks.1.attn.qkv.bias_mask"
    for mask in (torch.ones(48), tensors[name].flip(0).roll(16), torch.ones(2), torch.ones(3, 3)):
        with pytest.raises(ValueError, match=r"blocks\.1\.attn\.qkv\.bias_mask masks something"):
            authors_vit.to_mmdino(tensors | {name: mask})

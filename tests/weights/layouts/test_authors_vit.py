"""The names of the authors' ViT are converted and back."""

from __future__ import annotations

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

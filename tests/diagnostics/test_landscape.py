"""The loss surface of the reference's distilled student, and the pieces that it is made of."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from mmdino.diagnostics.landscape import (
    fraction_near_minimum,
    loss_surface,
    moved,
    moved_parameters,
    random_direction,
    reestimate_batch_norm,
)

HEADS, PATCH = 2, 4


def load_golden():
    with np.load(Path(__file__).parents[1] / "data" / "landscape.npz") as arrays:
        return {name: torch.from_numpy(np.asarray(arrays[name])).double() for name in arrays.files}


def below(golden, start):
    return {n.removeprefix(start): t for n, t in golden.items() if n.startswith(start)}


def position_bias(table, side):
    """Bias (heads, N, N) of a square grid with a class token, from the shared table."""
    row, column = torch.cartesian_prod(*[torch.arange(side)] * 2).T
    patches = (row[:, None] - row + side - 1) * (2 * side - 1) + column[:, None] - column + side - 1
    index = functional.pad(patches, (1, 0, 1, 0))
    index[0, :], index[:, 0], index[0, 0] = len(table) - 3, len(table) - 2, len(table) - 1
    return table[index].permute(2, 0, 1)


def transformer(p, images, bias=0.0):
    """Tokens after the final norm, of a ViT with the reference's parameter names."""
    patches = functional.conv2d(
        images, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=PATCH
    )
    x = torch.cat([p["cls_token"].expand(len(images), -1, -1), patches.flatten(2).mT], 1)
    x = x + p.get("pos_embed", 0)

    def norm(x, name):
        return functional.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], 1e-6)

    def linear(x, name):
        return functional.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))

    for block in (f"blocks.{index}." for index in range(2)):
        qkv = linear(norm(x, f"{block}norm1"), f"{block}attn.qkv")
        if f"{block}attn.q_bias" in p:
            q_bias, v_bias = p[f"{block}attn.q_bias"], p[f"{block}attn.v_bias"]
            qkv = qkv + torch.cat([q_bias, torch.zeros_like(q_bias), v_bias])
        q, k, v = qkv.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / math.sqrt(q.shape[-1]) + bias).softmax(-1)
        attended = linear((weights @ v).transpose(1, 2).flatten(2), f"{block}attn.proj")
        x = x + p.get(f"{block}gamma_1", 1) * attended
        hidden = functional.gelu(linear(norm(x, f"{block}norm2"), f"{block}mlp.fc1"))
        x = x + p.get(f"{block}gamma_2", 1) * linear(hidden, f"{block}mlp.fc2")
    return norm(x, "norm")


def test_the_golden_surface():
    golden = load_golden()
    student, images = below(golden, "train/end/"), golden["train/images"]
    features = transformer(below(golden, "train/teacher/"), images)
    target = functional.layer_norm(features, features.shape[-1:])

    def loss():
        encoder = below(student, "encoder.")
        bias = position_bias(encoder["rel_pos_bias.relative_position_bias_table"], 3)
        tokens = transformer(encoder, images, bias)
        weight, bias = student["decoder.0.weight"][..., 0], student["decoder.0.bias"]
        return functional.smooth_l1_loss(functional.linear(tokens, weight, bias), target, beta=2.0)

    directions = [below(golden, f"landscape/direction_{index}/") for index in range(2)]
    surface = loss_surface(student, directions, golden["landscape/steps"].tolist(), loss)
    assert_close(surface, golden["landscape/loss"], rtol=0, atol=1e-9)


def test_the_golden_directions_have_the_norms_of_filters():
    """Ours are of the same kind."""
    golden = load_golden()
    weights = {n: w for n, w in below(golden, "train/end/").items() if w.dim() > 1}
    reference = below(golden, "landscape/direction_0/")
    ours = random_direction(weights, seed=0)
    assert ours.keys() == reference.keys()
    for name, weight in weights.items():
        norms = weight.flatten(1).norm(dim=1)
        assert_close(reference[name].flatten(1).norm(dim=1), norms, rtol=1e-5, atol=1e-7)
        assert_close(ours[name].flatten(1).norm(dim=1), norms)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()


def test_directions_go_by_seed_and_name():
    parameters = moved_parameters(network())
    assert list(parameters) == ["0.weight", "2.weight"]
    first, again, other = (random_direction(parameters, seed) for seed in (0, 0, 1))
    alone = random_direction({"2.weight": parameters["2.weight"]}, 0)
    assert first["2.weight"].equal(again["2.weight"])
    assert first["2.weight"].equal(alone["2.weight"])
    assert not first["2.weight"].equal(other["2.weight"])
    with pytest.raises(ValueError, match="has 1 axis, so no filters"):
        random_direction({"bias": torch.ones(3)}, 0)


def test_frozen_weights_stay():
    model = network()
    model[0].requires_grad_(False)
    assert list(moved_parameters(model)) == ["2.weight"]


def test_weights_come_back_bit_by_bit_also_after_an_error():
    parameters = moved_parameters(network())
    before = {name: weight.clone() for name, weight in parameters.items()}
    direction = random_direction(parameters, 0)

    def diverge():
        assert not parameters["0.weight"].equal(before["0.weight"])
        raise RuntimeError

    with pytest.raises(RuntimeError):
        loss_surface(parameters, [direction], [1e9], diverge)
    assert all(parameters[name].equal(weight) for name, weight in before.items())


def test_a_direction_of_another_network_is_refused():
    parameters = moved_parameters(network())
    with (
        pytest.raises(ValueError, match="gamma is missing"),
        moved(parameters, [{"gamma": torch.ones(2, 2)}], [1]),
    ):
        pass


def test_a_quadratic_along_a_line():
    weight = torch.ones(1, 1, dtype=torch.float64)
    surface = loss_surface(
        {"w": weight}, [{"w": torch.ones(1, 1)}], [-2, -1, 0, 1], lambda: weight.square().sum()
    )
    assert surface.tolist() == [1, 0, 1, 4]
    assert fraction_near_minimum(surface, 1) == 0.75
    broken = torch.tensor([math.nan, math.inf, 0.0, 2.0])
    assert fraction_near_minimum(broken, 1) == 0.25
    with pytest.raises(ValueError, match="No loss"):
        fraction_near_minimum(broken[:2], 1)


def test_batch_norm_is_reestimated_as_the_mean_over_batches():
    model = network()
    batches = [torch.randn(8, 3) + 5, torch.randn(8, 3) - 1]
    reestimate_batch_norm(model, lambda: map(model, batches))
    with torch.no_grad():
        means = torch.stack([model[0](batch).mean(0) for batch in batches])
    assert_close(model[1].running_mean, means.mean(0))
    assert model[1].momentum == 0.1
    assert not model[1].training

"""Distance, similarity, information and patterns of attention: golden arrays and known maps."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmdino.diagnostics.attention_distance import attention_distance, uniform_distance
from mmdino.diagnostics.attention_patterns import (
    column_chance,
    column_fraction,
    relative_chance,
    relative_fraction,
)
from mmdino.diagnostics.head_similarity import head_pairs, head_similarity
from mmdino.diagnostics.mutual_information import mutual_information
from mmdino.diagnostics.patch_attention import patch_rows

CASES = ("square", "wide", "no_class_token", "train_start", "train_end")
GOLDEN = Path(__file__).parents[1] / "data" / "diagnostics.npz"


@functools.cache
def golden():
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}


@pytest.fixture(params=CASES)
def case(request):
    start = f"{request.param}/"
    return {n.removeprefix(start): t for n, t in golden().items() if n.startswith(start)}


def exactly(found, expected):
    assert_close(found, expected, rtol=0, atol=1e-9)


def test_the_golden_arrays(case):
    """Attention is (layers, B, heads, N, N); the values are means over the images."""
    attention, grid, extra = case["attention"], case["grid"].tolist(), int(case["extra_tokens"])
    pixels = int(case["patch_size"])
    distance = attention_distance(attention, grid, pixels, extra)
    exactly(distance.mean(1), case["distance"])
    distance = attention_distance(attention, grid, pixels, extra, normalize=False)
    exactly(distance.mean(1), case["distance_unnormalised"])
    exactly(head_pairs(attention, extra).mean(1), case["similarity_pairs"])
    exactly(head_similarity(attention, extra).mean(1), case["similarity"])
    whole = head_similarity(attention, extra, whole_maps=True)
    exactly(whole.mean(1), case["similarity_whole_map"])
    exactly(mutual_information(attention, extra).mean(1), case["mutual_information"])
    average = patch_rows(attention, extra).mean((1, 2))
    exactly(average, case["average_patch_map"])
    exactly(relative_fraction(average, grid), case["relative_share"])
    exactly(column_fraction(average), case["column_share"])


def even(patches, extra=0):
    tokens = patches + extra
    return torch.full((tokens, tokens), 1 / tokens, dtype=torch.float64)


def test_even_attention():
    """A uniform 6 x 6 grid of 8 pixels has a mean distance of 24.6."""
    attention = even(36, extra=5)
    distance = attention_distance(attention, (6, 6), 8, 5)
    assert distance == pytest.approx(24.6, abs=0.05)
    assert distance == pytest.approx(uniform_distance((6, 6), 8))
    assert attention_distance(attention, (6, 6), 8, 5, False) == pytest.approx(distance * 36 / 41)
    assert mutual_information(attention, 5) == pytest.approx(0, abs=1e-9)
    average = patch_rows(attention, 5)
    assert relative_fraction(average, (6, 6)).isnan()
    assert column_fraction(average).isnan()


def test_attention_to_itself():
    attention = torch.eye(6, dtype=torch.float64)
    assert attention_distance(attention, (2, 3), 16, 0) == 0
    assert mutual_information(attention, 0) == pytest.approx(1)
    assert relative_fraction(attention, (2, 3)) == pytest.approx(1)
    assert column_fraction(attention) == pytest.approx(0, abs=1e-12)


def test_columns():
    """All queries attend alike."""
    attention = torch.arange(1.0, 7).expand(6, 6) / 21
    assert column_fraction(attention) == pytest.approx(1)
    assert mutual_information(attention, 0) == pytest.approx(0, abs=1e-6)


def test_fractions_of_noise_are_at_their_chance_levels():
    maps = torch.rand(400, 36, 36, generator=torch.Generator().manual_seed(0)).double()
    assert relative_chance((6, 6)) == pytest.approx(0.09, abs=0.005)
    assert relative_fraction(maps, (6, 6)).mean() == pytest.approx(
        relative_chance((6, 6)), rel=0.02
    )
    assert column_chance((6, 6)) == pytest.approx(0.03, abs=0.005)
    assert column_fraction(maps).mean() == pytest.approx(column_chance((6, 6)), rel=0.02)


def test_heads_alike_and_apart():
    first, second = torch.eye(4).double(), torch.eye(4).double().roll(1, 0)
    similarity = head_similarity(torch.stack([first, first, second]), 0)
    assert_close(similarity, torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64))
    assert head_similarity(first[None], 0).isnan().all()


def test_what_is_no_attention_is_refused():
    with pytest.raises(ValueError, match="has no patches"):
        patch_rows(even(1), 1)
    with pytest.raises(ValueError, match="has no patches"):
        patch_rows(torch.ones(2, 3), 0)
    with pytest.raises(ValueError, match="negative or not finite"):
        patch_rows(even(4) * torch.nan, 0)
    with pytest.raises(ValueError, match="the extra tokens alone"):
        patch_rows(torch.eye(5)[:, [0] * 5] * torch.eye(5)[0], 1)
    with pytest.raises(ValueError, match=r"A grid of \(3, 3\) has 9 patches, the attention 8"):
        attention_distance(even(9), (3, 3), 16, 1)

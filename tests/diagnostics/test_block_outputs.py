"""Attention and tokens of every block, for each kind of ViT that the project reads."""

from __future__ import annotations

import pytest
import tiny_weights
import torch
from torch.testing import assert_close

from mmdino.diagnostics.attention_statistics import PER_HEAD, AttentionStatistics
from mmdino.diagnostics.block_outputs import run_blocks

BIAS = {"type": "mmdino.RelativePositionBias", "num_heads": tiny_weights.HEADS, "grid": 4}
DISTILLED = {
    "layer_scale_init_value": 0.1,
    "learned_positions": False,
    "key_bias": False,
    "position_encoding": BIAS,
}
KINDS = {
    "dino": {},
    **tiny_weights.DINOV2,
    **tiny_weights.DINOV3,
    "distilled": DISTILLED,
    "distilled, fine-tuned": {**DISTILLED, "position_encoding_per_block": True},
}
GRID = (3, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_vit(kind):
    vit = tiny_weights.vit(**KINDS[kind])
    images = torch.randn(2, 3, *(8 * side for side in GRID))
    attention = [[] for _ in vit.layers]
    tokens = {}
    run_blocks(vit, images, lambda layer, maps: attention[layer].append(maps), tokens.__setitem__)
    assert [len(maps) for maps in attention] == [2] * len(vit.layers)
    with torch.no_grad():
        expected = vit.last_attention(images)
        normed = vit.ln1(tokens[len(vit.layers) - 1])
    assert attention[0][0].dtype == torch.float64
    assert_close(torch.stack(attention[-1]).float(), expected, rtol=1e-4, atol=1e-6)
    assert_close(normed, vit.intermediate_tokens(images)[0])
    # Nothing stays behind that would slow the network down.
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in vit.modules())


def test_a_bias_by_offset_shows_as_diagonals():
    """With a bias far above the scores, each query attends to the patch on its right."""
    vit = tiny_weights.vit(**DISTILLED)
    table = vit.position_encoding.table
    with torch.no_grad():
        table.zero_()
        # Offset of rows 0 and of columns -1 from query to key, of a grid of 4 x 4.
        table[3 * 7 + 2] = 1000.0
    statistics = AttentionStatistics((4, 4), 8, 1)
    run_blocks(vit, torch.randn(2, 3, 32, 32), statistics.add)
    maps = statistics.means()["average_patch_map"]
    for layer in maps:
        assert all(layer[query, query + 1] > 0.999 for query in range(16) if query % 4 < 3)


def test_statistics_do_not_depend_on_the_batches():
    vit = tiny_weights.vit(**KINDS["dinov2_registers"])
    images = torch.randn(3, 3, *(8 * side for side in GRID))
    whole, parts = (AttentionStatistics(GRID, 8, vit.num_extra_tokens) for _ in range(2))
    run_blocks(vit, images, whole.add)
    for part in images.split(2):
        run_blocks(vit, part, parts.add)
    for name, means in whole.means().items():
        assert_close(parts.means()[name], means, rtol=1e-5, atol=1e-7)
    numbers = whole.numbers()
    assert {len(numbers[name]) for name in PER_HEAD} == {len(vit.layers)}
    assert_close(whole.means()["average_map"].sum(-1).mean().item(), 1.0)


def test_a_single_head_has_no_similarity():
    statistics = AttentionStatistics((2, 2), 8, 0)
    with pytest.raises(ValueError, match="no image was added"):
        statistics.numbers()
    statistics.add(0, torch.rand(1, 4, 4).softmax(-1))
    assert statistics.numbers()["similarity"] == [[None]]

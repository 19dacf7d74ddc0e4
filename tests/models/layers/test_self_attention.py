"""Self-attention is mmpretrain's."""

from __future__ import annotations

import pytest
import torch
from mmpretrain.models.utils import MultiheadAttention

from mmdino.models.layers import SelfAttention


@pytest.mark.parametrize("options", [{}, {"layer_scale_init_value": 0.1}, {"qkv_bias": False}])
def test_results_and_gradients_are_mmpretrains(options):
    torch.manual_seed(0)
    theirs = MultiheadAttention(8, 2, **options).double()
    ours = SelfAttention(8, 2, **options).double()
    ours.load_state_dict(theirs.state_dict())
    seen = []
    for attention in (ours, theirs):
        x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1)).double()
        x.requires_grad_()
        result = attention(x)
        result.square().sum().backward()
        seen.append([result, x.grad, *(p.grad for p in attention.parameters())])
    for found, expected in zip(*seen, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)


def test_dropout_acts_in_training_alone():
    attention = SelfAttention(8, 2, drop_rate=0.5)
    x = torch.randn(3, 5, 8)
    assert not torch.equal(attention(x), attention(x))
    attention.eval()
    assert torch.equal(attention(x), attention(x))

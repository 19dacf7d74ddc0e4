"""Self-attention whose gradient is put together once."""

from __future__ import annotations

from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor


class SelfAttention(MultiheadAttention):
    """mmpretrain's self-attention, taking queries, keys and values apart in one step.

    There each of the three is indexed out of their common tensor, so that the backward pass fills
    three of its size with zeros and adds them up; here it stacks their gradients. Parameters,
    results and gradients are the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Lets tokens (B, N, D) attend to each other."""
        tokens = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dims))
        query, key, value = (part.transpose(1, 2) for part in tokens.unbind(2))
        attended = self.scaled_dot_product_attention(
            query, key, value, dropout_p=self.attn_drop if self.training else 0.0
        )
        x = self.proj(attended.transpose(1, 2).flatten(2))
        x = self.out_drop(self.gamma1(self.proj_drop(x)))
        return value.squeeze(1) + x if self.v_shortcut else x

"""Multi-head self-attention with relative positions."""

from __future__ import annotations

from torch import Tensor, nn

from mmdino.models.layers.attention import fastest_attention
from mmdino.models.layers.layer_scale import layer_scale
from mmdino.models.layers.position_encoding import NO_POSITIONS, RelativePositions, rotate


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2).

    Parameters have the names that mmpretrain gives them.

    Args:
        embed_dims: Width D of a token.
        num_heads: Number of heads.
        qkv_bias: Whether queries, keys and values have a bias.
        drop_rate: Probability that an element of the projected output is zeroed in training.
        layer_scale_init_value: Initial value of a learned factor for each channel; 0 for none.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        layer_scale_init_value: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dims = embed_dims // num_heads
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(drop_rate)
        self.gamma1 = layer_scale(embed_dims, layer_scale_init_value)

    def queries_keys_values(
        self, x: Tensor, positions: RelativePositions = NO_POSITIONS
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries, keys and values (B, heads, N, D / heads) of tokens (B, N, D)."""
        tokens = self.qkv(x).unflatten(-1, (3, self.num_heads, self.head_dims))
        # Unbound, not indexed: the backward pass then stacks three gradients, where indexing fills
        # three tensors of the size of all with zeros and adds them up.
        query, key, value = (part.transpose(1, 2) for part in tokens.unbind(2))
        if positions.rotation is not None:
            query, key = rotate(query, positions.rotation), rotate(key, positions.rotation)
        return query, key, value

    def forward(self, x: Tensor, positions: RelativePositions = NO_POSITIONS) -> Tensor:
        """Lets tokens (B, N, D) attend to each other."""
        query, key, value = self.queries_keys_values(x, positions)
        attended = fastest_attention(query, key, value, positions.bias)
        return self.gamma1(self.proj_drop(self.proj(attended.transpose(1, 2).flatten(2))))

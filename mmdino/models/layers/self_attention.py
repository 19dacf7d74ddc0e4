"""Multi-head self-attention with relative positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmdino.models.layers.attention import fastest_attention
from mmdino.models.layers.branch_end import branch_end
from mmdino.models.layers.layer_scale import layer_scale
from mmdino.models.layers.normed_linear import normed_linear
from mmdino.models.layers.position_encoding import NO_POSITIONS, RelativePositions, rotate


class QKVWithoutKeyBias(nn.Linear):
    """A linear layer to queries, keys and values (.., 3D) whose bias does not act on the keys.

    The bias has 3D elements, as in the files of DINOv3; those of the keys are not used.

    Args:
        embed_dims: Width D of a token.
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__(embed_dims, 3 * embed_dims)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (.., D) to (.., 3D)."""
        return functional.linear(x, self.weight, self.acting_bias)

    @property
    def acting_bias(self) -> Tensor:
        """The bias (3D,) with zeros for the keys."""
        query, key, value = self.bias.chunk(3)
        return torch.cat([query, torch.zeros_like(key), value])


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, section 3.2.2).

    Parameters have the names that mmpretrain gives them.

    Args:
        embed_dims: Width D of a token.
        num_heads: Number of heads.
        qkv_bias: Whether queries, keys and values have a bias.
        drop_rate: Probability that an element of the projected output is zeroed in training.
        layer_scale_init_value: Initial value of a learned factor for each channel; 0 for none.
        key_bias: Whether the bias acts on the keys too; DINOv3 leaves them without.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        layer_scale_init_value: float = 0.0,
        key_bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dims = embed_dims // num_heads
        if qkv_bias and not key_bias:
            self.qkv = QKVWithoutKeyBias(embed_dims)
        else:
            self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(drop_rate)
        self.gamma1 = layer_scale(embed_dims, layer_scale_init_value)

    def queries_keys_values(
        self,
        x: Tensor,
        positions: RelativePositions = NO_POSITIONS,
        norm: nn.Module | None = None,
        class_query: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries, keys and values (B, heads, N, D / heads) of tokens (B, N, D).

        Args:
            x: The tokens.
            positions: What positions do to queries, keys and scores.
            norm: A norm that the tokens pass first.
            class_query: Whether the query of the first token, the class token, is the only one
                (B, heads, 1, D / heads). It has no position.
        """
        rotation = positions.rotation
        if class_query:
            width = self.num_heads * self.head_dims
            (query,) = self._heads(normed_linear(x[:, :1], norm, self.qkv, slice(width)), 1)
            key, value = self._heads(normed_linear(x, norm, self.qkv, slice(width, None)), 2)
        else:
            query, key, value = self._heads(normed_linear(x, norm, self.qkv), 3)
            query = query if rotation is None else rotate(query, rotation)
        return query, key if rotation is None else rotate(key, rotation), value

    def _heads(self, tokens: Tensor, number: int) -> list[Tensor]:
        """Splits (B, N, number * D) into a number of tensors (B, heads, N, D / heads)."""
        tokens = tokens.unflatten(-1, (number, self.num_heads, self.head_dims))
        # Unbound, not indexed: the backward pass then stacks the gradients, where indexing fills
        # as many tensors of the size of all with zeros and adds them up.
        return [part.transpose(1, 2) for part in tokens.unbind(2)]

    def forward(
        self,
        x: Tensor,
        positions: RelativePositions = NO_POSITIONS,
        norm: nn.Module | None = None,
        class_query: bool = False,
    ) -> Tensor:
        """Lets tokens (B, N, D) attend to each other, after a norm if one is given.

        With ``class_query`` the class token alone attends to all, and the output is (B, 1, D).
        """
        query, key, value = self.queries_keys_values(x, positions, norm, class_query)
        bias = positions.bias
        if class_query and bias is not None:
            bias = bias[:, :1]
        attended = fastest_attention(query, key, value, bias)
        attended = attended.transpose(1, 2).flatten(2)
        return branch_end(attended, self.proj, self.proj_drop, self.gamma1)

"""The gated feed-forward network of a vision transformer."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from mmdino.models.layers.layer_scale import layer_scale
from mmdino.models.layers.normed_linear import normed_linear


class SwiGLU(nn.Module):
    """silu(a) * b between linear layers, with a and b from one layer (Shazeer 2020).

    Parameters have the names of mmpretrain and of DINOv2.

    Args:
        embed_dims: Width D of a token.
        width: Width of a and of b.
        drop_rate: Probability that an element of the output is zeroed in training.
        layer_scale_init_value: Initial value of a learned factor for each channel; 0 for none.
    """

    def __init__(
        self,
        embed_dims: int,
        width: int,
        drop_rate: float = 0.0,
        layer_scale_init_value: float = 0.0,
    ) -> None:
        super().__init__()
        self.w12 = nn.Linear(embed_dims, 2 * width)
        self.w3 = nn.Linear(width, embed_dims)
        self.drop = nn.Dropout(drop_rate)
        self.gamma2 = layer_scale(embed_dims, layer_scale_init_value)

    @property
    def last(self) -> nn.Linear:
        """The linear layer at the end."""
        return self.w3

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Maps tokens (B, N, D), after a norm if one is given, to tokens (B, N, D)."""
        tokens = normed_linear(x, norm, self.w12)
        gate, value = tokens.chunk(2, dim=-1)
        return self.gamma2(self.drop(self.w3(functional.silu(gate) * value)))

"""The block of a vision transformer."""

from __future__ import annotations

from typing import Any, Literal

from mmpretrain.models.utils import build_norm_layer
from torch import Tensor, nn

from mmdino.models.layers.branch_end import branch_end
from mmdino.models.layers.layer_scale import layer_scale
from mmdino.models.layers.normed_linear import normed_linear
from mmdino.models.layers.position_encoding import NO_POSITIONS, RelativePositions
from mmdino.models.layers.self_attention import SelfAttention
from mmdino.models.layers.stochastic_depth import RowStochasticDepth, StochasticDepth
from mmdino.models.layers.swiglu import SwiGLU
from mmdino.utils.swiglu import swiglu_width

FFN = ("mlp", "mlp_quick_gelu", "swiglu", "swiglu64")
QUICK_GELU = 1.702
"""Factor in the sigmoid that CLIP has for GELU."""


class QuickGELU(nn.Module):
    """The approximation x sigmoid(1.702 x) of GELU (Hendrycks and Gimpel 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps a tensor element by element."""
        return x * (QUICK_GELU * x).sigmoid()


class FeedForward(nn.Module):
    """Two linear layers with GELU between them. Parameters have mmpretrain's names.

    With ``quick_gelu`` it is x sigmoid(1.702 x), as in OpenAI's CLIP.

    Args:
        embed_dims: Width D of a token.
        hidden_dims: Width between the layers.
        drop_rate: Probability that an element after either layer is zeroed in training.
        layer_scale_init_value: Initial value of a learned factor for each channel; 0 for none.
        quick_gelu: Whether GELU is approximated by a sigmoid.
    """

    def __init__(
        self,
        embed_dims: int,
        hidden_dims: int,
        drop_rate: float = 0.0,
        layer_scale_init_value: float = 0.0,
        quick_gelu: bool = False,
    ) -> None:
        super().__init__()
        self.quick_gelu = quick_gelu
        act = QuickGELU() if quick_gelu else nn.GELU()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(embed_dims, hidden_dims), act, nn.Dropout(drop_rate)),
            nn.Linear(hidden_dims, embed_dims),
            nn.Dropout(drop_rate),
        )
        self.gamma2 = layer_scale(embed_dims, layer_scale_init_value)

    @property
    def last(self) -> nn.Linear:
        """The linear layer at the end."""
        return self.layers[1]

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Maps tokens (B, N, D), after a norm if one is given, to tokens (B, N, D)."""
        (first, act, dropout), second, last_dropout = self.layers
        if dropout.training and dropout.p > 0:
            return self.gamma2(self.layers(x if norm is None else norm(x)))
        hidden = normed_linear(x, norm, first)
        if self.quick_gelu:
            return branch_end(act(hidden), second, last_dropout, self.gamma2)
        return branch_end(hidden, second, last_dropout, self.gamma2, gelu=True)


class TransformerBlock(nn.Module):
    """Attention and feed-forward network, each normalised before and added to its input.

    Args:
        embed_dims: Width D of a token.
        num_heads: Number of attention heads.
        hidden_dims: Hidden width of the feed-forward network.
        drop_path_rate: Probability that a sample skips each of the two in training.
        norm_cfg: Config of the norms.
        qkv_bias: As in :class:`SelfAttention`.
        drop_rate: As in :class:`SelfAttention`.
        layer_scale_init_value: As in :class:`SelfAttention`.
        key_bias: As in :class:`SelfAttention`.
        ffn: ``"mlp"`` for :class:`FeedForward`, ``"mlp_quick_gelu"`` with its ``quick_gelu``;
            ``"swiglu"`` for :class:`SwiGLU` of two thirds of ``hidden_dims``, rounded up to a
            multiple of 8, or of 64 with ``"swiglu64"``.
        drop_path_rows: Whether the samples that skip are not computed, as in
            :class:`RowStochasticDepth`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        hidden_dims: int,
        drop_path_rate: float,
        norm_cfg: dict[str, Any],
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        layer_scale_init_value: float = 0.0,
        key_bias: bool = True,
        ffn: Literal["mlp", "mlp_quick_gelu", "swiglu", "swiglu64"] = "mlp",
        drop_path_rows: bool = False,
    ) -> None:
        super().__init__()
        self.ln1 = build_norm_layer(norm_cfg, embed_dims)
        self.attn = SelfAttention(
            embed_dims, num_heads, qkv_bias, drop_rate, layer_scale_init_value, key_bias
        )
        self.ln2 = build_norm_layer(norm_cfg, embed_dims)
        if ffn.startswith("mlp"):
            quick = ffn == "mlp_quick_gelu"
            self.ffn = FeedForward(
                embed_dims, hidden_dims, drop_rate, layer_scale_init_value, quick
            )
        else:
            width = swiglu_width(hidden_dims, 64 if ffn == "swiglu64" else 8)
            self.ffn = SwiGLU(embed_dims, width, drop_rate, layer_scale_init_value)
        depth = RowStochasticDepth if drop_path_rows else StochasticDepth
        self.drop_path = depth(drop_path_rate)

    def forward(
        self,
        x: Tensor,
        positions: RelativePositions = NO_POSITIONS,
        read: Tensor | bool = True,
    ) -> Tensor:
        """Maps tokens (B, N, D) to tokens (B, N, D).

        Args:
            x: The tokens.
            positions: What positions do in the attention.
            read: Which tokens of the output are read, as in :func:`read_tokens`. Others are not
                computed, as far as those that are read do not depend on them. Draws are the same.
        """
        if read is False:
            x = self.drop_path.residual(
                read_tokens(x, read),
                lambda rows: self.attn(rows, positions, self.ln1, class_query=True),
                x,
            )
        else:
            x = self.drop_path.residual(x, lambda rows: self.attn(rows, positions, self.ln1))
        if not isinstance(read, Tensor):
            return self.drop_path.residual(x, lambda rows: self.ffn(rows, self.ln2))
        rows = read_tokens(x, read)
        added = self.ffn(rows, self.ln2)
        factors = self.drop_path.factors(added, len(x))
        return rows + added * factors.index_select(0, read // x.shape[1])


def read_tokens(tokens: Tensor, read: Tensor | bool) -> Tensor:
    """Returns the tokens (B, N, D) that are read.

    Args:
        tokens: The tokens.
        read: True for all; False for the class tokens alone (B, 1, D), the first; or positions (R,)
            in the flattened tokens (B * N, D), for those (R, D).
    """
    if isinstance(read, Tensor):
        return tokens.flatten(0, 1).index_select(0, read)
    return tokens if read else tokens[:, :1]

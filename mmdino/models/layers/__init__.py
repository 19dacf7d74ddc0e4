"""Layers and arithmetic that the networks share."""

from mmdino.models.layers.attention import fastest_attention
from mmdino.models.layers.blocks import numbers_at_once
from mmdino.models.layers.collectives import (
    gather,
    gather_with_grad,
    own_rows,
    sum_over_ranks,
)
from mmdino.models.layers.patch_embedding import PatchEmbedding
from mmdino.models.layers.position_encoding import (
    NO_POSITIONS,
    RelativePositions,
    interpolate_pos_embed,
)
from mmdino.models.layers.precision import (
    HALF,
    at_least_float32,
    is_autocast,
    no_autocast,
    product_dtype,
)
from mmdino.models.layers.relative_position_bias import RelativePositionBias
from mmdino.models.layers.rotary_positions import RotaryPositions
from mmdino.models.layers.self_attention import SelfAttention
from mmdino.models.layers.stochastic_depth import RowStochasticDepth, StochasticDepth
from mmdino.models.layers.swiglu import SwiGLU
from mmdino.models.layers.sync_batch_norm import (
    SYNCHRONISED,
    CPUSyncBatchNorm,
    synchronise_batch_norm,
)
from mmdino.models.layers.transformer_block import (
    FFN,
    FeedForward,
    TransformerBlock,
    read_tokens,
)
from mmdino.models.layers.weight_norm_linear import (
    LazyLogits,
    PlainLinear,
    WeightNormLinear,
    normalised_rows,
    row_blocks,
    row_lengths,
)

__all__ = [
    "FFN",
    "HALF",
    "NO_POSITIONS",
    "SYNCHRONISED",
    "CPUSyncBatchNorm",
    "FeedForward",
    "LazyLogits",
    "PatchEmbedding",
    "PlainLinear",
    "RelativePositionBias",
    "RelativePositions",
    "RotaryPositions",
    "RowStochasticDepth",
    "SelfAttention",
    "StochasticDepth",
    "SwiGLU",
    "TransformerBlock",
    "WeightNormLinear",
    "at_least_float32",
    "fastest_attention",
    "gather",
    "gather_with_grad",
    "interpolate_pos_embed",
    "is_autocast",
    "no_autocast",
    "normalised_rows",
    "numbers_at_once",
    "own_rows",
    "product_dtype",
    "read_tokens",
    "row_blocks",
    "row_lengths",
    "sum_over_ranks",
    "synchronise_batch_norm",
]

"""BEiT's names of tables of relative positions, which the authors of feature distillation have too.

Both keep one table for all blocks in pretraining (``rel_pos_bias``) and one for each block in
fine-tuning (``blocks.N.attn``), as timm's ``Beit`` does. The other names are timm's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmdino.weights.layouts import timm_vit
from mmdino.weights.layouts.renaming import rename

TABLE = re.compile(r"(?:rel_pos_bias|blocks\.\d+\.attn)\.relative_position_bias_table")
INDEX = "relative_position_index"
"""The end of the names of what follows from the grid."""
TO_MMDINO = (
    (r"rel_pos_bias\.relative_position_bias_table", "position_encoding.table"),
    (
        r"blocks\.(\d+)\.attn\.relative_position_bias_table",
        r"layers.\1.position_encoding.table",
    ),
)


def has_tables(state_dict: Mapping[str, Any]) -> bool:
    """Returns whether tensors are those of a ViT with such a table."""
    return any(TABLE.fullmatch(name) for name in state_dict)


def to_mmdino(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the tensors, and joins the biases of queries and values."""
    tables = {name: tensor for name, tensor in state_dict.items() if TABLE.fullmatch(name)}
    others = {name: tensor for name, tensor in state_dict.items() if name not in tables}
    return timm_vit.to_mmdino(others) | rename(tables, TO_MMDINO)

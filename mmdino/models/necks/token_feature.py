"""The feature that a linear classifier sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class TokenFeature(BaseModule):
    """Joins the class tokens of several blocks and, if wanted, the mean patch token of the last.

    The authors' linear evaluation takes the class tokens of the last four blocks of ViT-S, and of
    ViT-B the class token and the mean patch token of the last block.

    Args:
        mean_patch: Whether the mean of the last block's patch tokens is appended.

    Example:
        >>> backbone = dict(
        ...     type="mmdino.VisionTransformer", arch="deit-small", out_type="raw",
        ...     out_indices=[8, 9, 10, 11], norm_outputs=True)
        >>> neck = dict(type="mmdino.TokenFeature")  # 4 * 384 wide
    """

    def __init__(self, mean_patch: bool = False) -> None:
        super().__init__()
        self.mean_patch = mean_patch

    def forward(self, outputs: Sequence[Tensor]) -> tuple[Tensor]:
        """Joins tokens.

        Args:
            outputs: All tokens (B, N, D) of each block, the class token first; a backbone gives
                them with ``out_type="raw"``.

        Returns:
            One feature (B, blocks * D), or (B, (blocks + 1) * D) with ``mean_patch``, in a tuple,
            as mmpretrain's heads take it.

        Raises:
            ValueError: If the outputs are no tokens.
        """
        shapes = [tuple(tokens.shape) for tokens in outputs]
        if any(len(shape) != 3 for shape in shapes):
            raise ValueError(
                f"TokenFeature got outputs of shapes {shapes}; it needs all tokens (B, N, D) of "
                "each block. Set the backbone's out_type='raw'; for a ResNet take "
                "dict(type='GlobalAveragePooling') as neck."
            )
        parts = [tokens[:, 0] for tokens in outputs]
        if self.mean_patch:
            parts.append(outputs[-1][:, 1:].mean(dim=1))
        return (torch.cat(parts, dim=-1),)

"""The feature of the linear evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmdino.models.backbones.features import Features
from mmdino.registry import MODELS


@MODELS.register_module()
class TokenFeature(BaseModule):
    """Concatenates the class tokens of several blocks and optionally the last mean patch token.

    The authors' linear evaluation of DINO uses the class tokens of the last four blocks for ViT-S,
    and the class token and mean patch token of the last block for ViT-B (``eval_linear.py``); that
    of DINOv2 the class tokens of one or four blocks, with or without the mean patch token.

    Args:
        mean_patch: Whether to append the mean of the last block's patch tokens.

    Example:
        >>> backbone = dict(
        ...     type="mmdino.VisionTransformer", arch="deit-small", out_type="features",
        ...     out_indices=[8, 9, 10, 11], norm_outputs=True)
        >>> neck = dict(type="mmdino.TokenFeature")  # 4 * 384 wide
    """

    def __init__(self, mean_patch: bool = False) -> None:
        super().__init__()
        self.mean_patch = mean_patch

    def forward(self, outputs: Sequence[Tensor | Features]) -> tuple[Tensor]:
        """Concatenates tokens.

        Args:
            outputs: Per block :class:`Features`, from a backbone with ``out_type="features"``; or
                from one without registers all tokens (B, N, D), the class token first, with
                ``out_type="raw"``.

        Returns:
            A tuple, as mmpretrain's heads expect, of one feature (B, blocks * D), or
            (B, (blocks + 1) * D) with ``mean_patch``.

        Raises:
            ValueError: If an output has no tokens.
        """
        tokens = [_class_and_patches(output) for output in outputs]
        parts = [class_token for class_token, _ in tokens]
        if self.mean_patch:
            parts.append(tokens[-1][1].mean(dim=1))
        return (torch.cat(parts, dim=-1),)


def _class_and_patches(output: Tensor | Features) -> tuple[Tensor, Tensor]:
    """Returns class token (B, D) and patches (B, N, D) of an output."""
    if isinstance(output, Features):
        return output.cls, output.patches
    if output.dim() != 3:
        raise ValueError(
            f"TokenFeature got an output of shape {tuple(output.shape)}: expected all tokens "
            "(B, N, D) of each block. Set the backbone's out_type='features'; for a ResNet use the "
            "neck dict(type='GlobalAveragePooling')."
        )
    return output[:, 0], output[:, 1:]

"""The feature of linear evaluation and fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmpretrain.models.utils import build_norm_layer
from torch import Tensor

from mmdino.models.backbones.features import Features
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number


@MODELS.register_module()
class TokenFeature(BaseModule):
    """Concatenates the class tokens of several blocks and optionally the last mean patch token.

    The authors' linear evaluation of DINO uses the class tokens of the last four blocks for ViT-S,
    and the class token and mean patch token of the last block for ViT-B (``eval_linear.py``); that
    of DINOv2 the class tokens of one or four blocks, with or without the mean patch token. BEiT and
    feature distillation fine-tune on the mean patch token alone, with a norm after the mean.

    Args:
        mean_patch: Whether to append the mean of the last block's patch tokens.
        class_token: Whether the class tokens are part of the feature.
        norm_cfg: Config of a norm of the feature; None for none.
        in_channels: Width of the feature, which a norm needs.

    Raises:
        TypeError: If ``in_channels`` is no number.
        ValueError: If neither kind of token is asked for, or there is a norm without a width.

    Example:
        >>> backbone = dict(
        ...     type="mmdino.VisionTransformer", arch="deit-small", out_type="features",
        ...     out_indices=[8, 9, 10, 11], norm_outputs=True)
        >>> neck = dict(type="mmdino.TokenFeature")  # 4 * 384 wide
        >>> finetuning = dict(
        ...     type="mmdino.TokenFeature", mean_patch=True, class_token=False,
        ...     norm_cfg=dict(type="LN", eps=1e-6), in_channels=768)
    """

    def __init__(
        self,
        mean_patch: bool = False,
        class_token: bool = True,
        norm_cfg: dict | None = None,
        in_channels: int | None = None,
    ) -> None:
        super().__init__()
        if not (mean_patch or class_token):
            raise ValueError(
                "TokenFeature got mean_patch=False and class_token=False, which leaves no feature. "
                "Set one of them to True."
            )
        self.mean_patch = mean_patch
        self.class_token = class_token
        self.norm = None
        if norm_cfg is not None:
            if in_channels is None:
                raise ValueError(
                    f"TokenFeature got norm_cfg={dict(norm_cfg)} without in_channels. Set it to "
                    "the width of the feature: that of the ViT for the mean patch token alone."
                )
            require_number("TokenFeature", "in_channels", in_channels, least=1, whole=True)
            self.norm = build_norm_layer(norm_cfg, in_channels)

    def forward(self, outputs: Sequence[Tensor | Features]) -> tuple[Tensor]:
        """Concatenates tokens.

        Args:
            outputs: Per block :class:`Features`, from a backbone with ``out_type="features"``; or
                from one without registers all tokens (B, N, D), the class token first, with
                ``out_type="raw"``.

        Returns:
            A tuple, as mmpretrain's heads expect, of one feature (B, blocks * D), or
            (B, (blocks + 1) * D) with ``mean_patch``, or (B, D) without class tokens.

        Raises:
            ValueError: If an output has no tokens.
        """
        tokens = [_class_and_patches(output) for output in outputs]
        parts = [class_token for class_token, _ in tokens] if self.class_token else []
        if self.mean_patch:
            parts.append(tokens[-1][1].mean(dim=1))
        feature = torch.cat(parts, dim=-1)
        return (feature if self.norm is None else self.norm(feature),)


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

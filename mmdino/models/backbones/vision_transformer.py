"""mmpretrain's ViT with the reference's initialisation and position-embedding scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from mmcv.cnn.bricks import DropPath
from mmpretrain.models import VisionTransformer as MMPretrainVisionTransformer
from mmpretrain.models.utils import MultiheadAttention
from mmpretrain.models.utils.attention import scaled_dot_product_attention as mmpretrain_attention
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mmdino.models.layers import (
    SelfAttention,
    StochasticDepth,
    at_least_float32,
    fastest_attention,
)
from mmdino.registry import MODELS
from mmdino.weights.pretrained import load_pretrained, pretrained_cfg


@MODELS.register_module()
class VisionTransformer(MMPretrainVisionTransformer):
    """mmpretrain's ``VisionTransformer``, computing what the authors' network computes.

    Parameters, their names and all options are mmpretrain's, so weights move freely between the
    two. What differs: linear weights start from a truncated normal of deviation 0.02 with biases 0;
    position embeddings are interpolated in the precision they have, with the reference's scale;
    sizes that do not fit are refused; an ``init_cfg`` of type ``Pretrained`` reads every file that
    :func:`load_pretrained` reads and must match whole.

    Args:
        arch: As in mmpretrain. DINO's ViT-S is ``"deit-small"`` (384 wide, 12 deep): mmpretrain's
            ``"small"`` is another network, 768 wide and 8 deep. ViT-Ti is ``"deit-tiny"``, ViT-B
            ``"deit-base"``.
        img_size: Size the position embeddings are learned for, an int or (height, width).
        patch_size: Side of a patch in pixels.
        pos_embed_offset: Added to the target grid when embeddings are interpolated: the scale is
            (grid + offset) / source grid. The authors' weights are trained with 0.1; 0 gives
            mmpretrain's scale.
        norm_outputs: Whether the final norm acts on the output of every block in ``out_indices``,
            as the authors' linear evaluation has it, and not of the last block alone.
        with_cp: Whether a training pass keeps the input of each block alone and computes the rest
            again in the backward pass: less memory for a third more time. The gradients are the
            same.
        attention: "fastest" for :func:`fastest_attention`, or "fused" for torch's fused kernel
            everywhere, as in mmpretrain. They differ on CPUs alone, by rounding.
        **kwargs: mmpretrain's other arguments.

    Raises:
        ValueError: If the image is no multiple of the patch, here or when it comes, if ``arch`` or
            ``attention`` is unknown, or if there is no final norm for ``norm_outputs``.

    Example:
        >>> backbone = dict(
        ...     type="mmdino.VisionTransformer", arch="deit-small", patch_size=16,
        ...     drop_path_rate=0.1)
    """

    def __init__(
        self,
        arch: str | dict = "deit-small",
        img_size: int | Sequence[int] = 224,
        patch_size: int = 16,
        pos_embed_offset: float = 0.1,
        norm_outputs: bool = False,
        with_cp: bool = False,
        attention: Literal["fastest", "fused"] = "fastest",
        **kwargs: Any,
    ) -> None:
        sides = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        if patch_size < 1 or any(side < patch_size or side % patch_size for side in sides):
            raise ValueError(
                f"VisionTransformer got img_size={img_size} and patch_size={patch_size}; each "
                "side of the image must be a multiple of the patch."
            )
        if isinstance(arch, str) and arch.lower() not in self.arch_zoo:
            raise ValueError(
                f"VisionTransformer got arch={arch!r}; known are {sorted(self.arch_zoo)}, or "
                "give a dict with embed_dims, num_layers, num_heads and feedforward_channels."
            )
        if attention not in ("fastest", "fused"):
            raise ValueError(
                f"VisionTransformer got attention={attention!r}; it must be 'fastest' or 'fused'."
            )
        super().__init__(arch=arch, img_size=img_size, patch_size=patch_size, **kwargs)
        if norm_outputs and not self.final_norm:
            raise ValueError(
                "VisionTransformer got norm_outputs=True with final_norm=False, so there is no "
                "norm for the outputs. Leave out final_norm=False."
            )
        self.pos_embed_offset = pos_embed_offset
        self.norm_outputs = norm_outputs
        self.with_cp = with_cp
        for layer in self.layers:
            # mmpretrain's block builds its attention itself.
            if type(layer.attn) is MultiheadAttention:
                layer.attn.__class__ = SelfAttention
            # With a scale of its own mmpretrain has put a function of its own there.
            replaceable = layer.attn.scaled_dot_product_attention is mmpretrain_attention
            if attention == "fastest" and replaceable:
                layer.attn.scaled_dot_product_attention = fastest_attention
        for module in list(self.modules()):
            for name, child in module.named_children():
                if type(child) is DropPath:
                    # mmpretrain has NumPy's numbers here, on which torch.compile breaks its graph.
                    setattr(module, name, StochasticDepth(float(child.drop_prob)))
        self._init_like_reference()

    def init_weights(self) -> None:
        """Initialises the weights like the reference, or as ``init_cfg`` says."""
        pretrained = pretrained_cfg(self.init_cfg)
        if pretrained is not None:
            load_pretrained(self, pretrained)
            return
        super().init_weights()
        if not self.init_cfg:
            self._init_like_reference()

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, *args: Any, **kwargs: Any) -> None:
        """Resizes position embeddings that are loaded, as the forward pass does for an image."""
        name = f"{prefix}pos_embed"
        came = state_dict.get(name)
        if self.cls_token is None or came is None or came.shape[2:] != self.pos_embed.shape[2:]:
            super()._prepare_pos_embed(state_dict, prefix, *args, **kwargs)
            return
        places = came.shape[1] - self.num_extra_tokens
        side = math.isqrt(places)
        if came.shape == self.pos_embed.shape:
            return
        if side * side != places:
            raise ValueError(
                f"The position embeddings of the file are of {places} patches, which is no square, "
                f"and the network's of {self.patch_resolution}. Set img_size to that of the "
                "pretraining; the forward pass resizes for other images."
            )
        state_dict[name] = interpolate_pos_embed(
            came,
            (side, side),
            self.patch_resolution,
            self.num_extra_tokens,
            self.interpolate_mode,
            self.pos_embed_offset,
        )

    def _init_like_reference(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=0.02)

    def embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Returns the tokens (B, N, D) that enter the first block, and the grid of patches.

        Args:
            images: Images (B, C, H, W).

        Raises:
            ValueError: If a side of the images is no multiple of the patch, or smaller than it.
        """
        self._check_size(*images.shape[-2:])
        tokens, grid = self.patch_embed(images)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        positions = interpolate_pos_embed(
            self.pos_embed,
            self.patch_resolution,
            grid,
            self.num_extra_tokens,
            self.interpolate_mode,
            self.pos_embed_offset,
        )
        return self.pre_norm(self.drop_after_pos(tokens + positions)), grid

    def _check_size(self, height: int, width: int) -> None:
        # mmcv's patch embedding would pad with zeros and say nothing.
        patch, step = self.patch_embed.projection.kernel_size, self.patch_embed.projection.stride
        if height < patch[0] or width < patch[1]:
            raise ValueError(
                f"An image of {height} x {width} pixels came, smaller than a patch of {patch[0]} x "
                f"{patch[1]}. Take it out, or enlarge it in the pipeline (ResizeEdge)."
            )
        if height % step[0] or width % step[1]:
            raise ValueError(
                f"An image of {height} x {width} pixels came, which does not divide into patches of"
                f" {step[0]} x {step[1]}. Crop or resize it to multiples in the pipeline; for "
                f"mmsegmentation set data_preprocessor.test_cfg.size_divisor={step[0]}, which pads "
                "it and takes the padding off the result."
            )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps images (B, C, H, W) to the outputs of the blocks in ``out_indices``.

        As in mmpretrain, what an output is depends on ``out_type``: by default the class token
        (B, D), after the final norm for the last block, or for all with ``norm_outputs``.
        """
        tokens, grid = self.embed(images)
        outputs = []
        for index, layer in enumerate(self.layers):
            tokens = self._run_block(layer, tokens)
            last = index == len(self.layers) - 1
            if index in self.out_indices:
                normed = self.final_norm and (last or self.norm_outputs)
                output = self.ln1(tokens) if normed else tokens
                outputs.append(self._format_output(output, grid))
        return tuple(outputs)

    def _run_block(self, layer: nn.Module, tokens: Tensor) -> Tensor:
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpoint(layer, tokens, use_reentrant=False)
        return layer(tokens)

    def intermediate_tokens(self, images: Tensor, num_blocks: int = 1) -> list[Tensor]:
        """Returns all tokens (B, N, D) after each of the last blocks and the final norm.

        Args:
            images: Images (B, C, H, W).
            num_blocks: Number of last blocks; the first of the list is the earliest.
        """
        tokens, _ = self.embed(images)
        outputs = []
        for layer in self.layers:
            tokens = layer(tokens)
            outputs.append(tokens)
        return [self.ln1(tokens) for tokens in outputs[-num_blocks:]]

    def last_attention(self, images: Tensor) -> Tensor:
        """Returns the attention (B, heads, N, N) of the last block, from each token to each.

        Recomputed from queries and keys, since fused attention returns no weights.
        """
        query, key, _ = self._last_queries_and_keys(images)
        return (query @ key.transpose(-2, -1)).softmax(-1)

    def class_token_attention(self, images: Tensor) -> Tensor:
        """Returns the attention (B, heads, h, w) of the last block from the class token to patches.

        The class token's row of :meth:`last_attention`, less what it gives itself, without the
        other N - 1 rows: at ten thousand tokens those are gigabytes.

        Args:
            images: Images (B, C, h * patch, w * patch).

        Raises:
            ValueError: If the network has no class token.
        """
        if self.cls_token is None:
            raise ValueError(
                f"{type(self).__name__} was built with with_cls_token=False; there is no class "
                "token whose attention could be shown."
            )
        query, key, grid = self._last_queries_and_keys(images)
        row = (query[:, :, :1] @ key.transpose(-2, -1)).softmax(-1)
        return row[:, :, 0, self.num_extra_tokens :].unflatten(-1, grid)

    def _last_queries_and_keys(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Scaled queries and keys (B, heads, N, width) of the last block; the grid of patches."""
        tokens, grid = self.embed(images)
        for layer in self.layers[:-1]:
            tokens = layer(tokens)
        last = self.layers[-1]
        query, key, _ = (
            last.attn.qkv(last.ln1(tokens))
            .unflatten(-1, (3, last.attn.num_heads, last.attn.head_dims))
            .permute(2, 0, 3, 1, 4)
        )
        return query * last.attn.head_dims**-0.5, key, grid


def interpolate_pos_embed(
    pos_embed: Tensor,
    source_grid: Sequence[int],
    target_grid: Sequence[int],
    num_extra_tokens: int,
    mode: str = "bicubic",
    offset: float = 0.1,
) -> Tensor:
    """Resizes learned position embeddings to another grid of patches.

    Args:
        pos_embed: Embeddings (1, extra + H * W, D) of the source grid (H, W).
        source_grid: Rows and columns of patches that the embeddings were learned for.
        target_grid: Rows and columns wanted.
        num_extra_tokens: Leading tokens without a place, such as the class token.
        mode: Interpolation of ``torch.nn.functional.interpolate``.
        offset: Added to the target grid for the scale factor, as the reference does.

    Returns:
        Embeddings (1, extra + h * w, D).
    """
    if tuple(source_grid) == tuple(target_grid):
        return pos_embed
    extra, places = pos_embed[:, :num_extra_tokens], pos_embed[:, num_extra_tokens:]
    places = at_least_float32(places.unflatten(1, tuple(source_grid)).permute(0, 3, 1, 2))
    scale = [(new + offset) / old for new, old in zip(target_grid, source_grid, strict=True)]
    if offset:
        places = functional.interpolate(places, scale_factor=scale, mode=mode)
    else:
        places = functional.interpolate(places, size=tuple(target_grid), mode=mode)
    assert places.shape[-2:] == tuple(target_grid), "the offset must not add a row or a column"
    places = places.permute(0, 2, 3, 1).flatten(1, 2).to(extra.dtype)
    return torch.cat([extra, places], dim=1)

"""The attention and the tokens of every block of a ViT."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from mmdino.models.layers import NO_POSITIONS, RelativePositions, SelfAttention

Receiver = Callable[[int, Tensor], None]


def run_blocks(
    backbone: nn.Module,
    images: Tensor,
    on_attention: Receiver | None = None,
    on_tokens: Receiver | None = None,
) -> None:
    """Passes images through a ViT and hands on what each block computes.

    Fused attention returns no weights, so they are computed again, from what enters the attention
    of each block. One image at a time, since a batch of them takes H * N * N numbers an image.

    Args:
        backbone: ``mmdino.VisionTransformer`` in eval mode.
        images: Pixels (B, C, H, W).
        on_attention: Gets the number of a block, from 0, and the attention (heads, N, N) of an
            image, float64, for one image after the other.
        on_tokens: Gets the number of a block and the tokens (B, N, D) that leave it.
    """
    with ExitStack() as hooks, torch.no_grad():
        for index, block in enumerate(backbone.layers):
            if on_attention is not None:
                hook = _attention_hook(index, on_attention)
                hooks.callback(block.attn.register_forward_pre_hook(hook, with_kwargs=True).remove)
            if on_tokens is not None:
                hook = _tokens_hook(index, on_tokens)
                hooks.callback(block.register_forward_hook(hook).remove)
        backbone(images)


def attention_weights(
    attention: SelfAttention,
    x: Tensor,
    positions: RelativePositions = NO_POSITIONS,
    norm: nn.Module | None = None,
) -> Tensor:
    """Returns the attention (B, heads, N, N) after the softmax, float64.

    In float32 a patch may attend to a register alone, and no patch would be left to measure.

    Args:
        attention: The module.
        x: Tokens (B, N, D).
        positions: What positions do to queries, keys and scores.
        norm: A norm that the tokens pass first.
    """
    query, key, _ = attention.queries_keys_values(x, positions, norm)
    scores = (query.double() * attention.head_dims**-0.5) @ key.double().transpose(-2, -1)
    return (scores if positions.bias is None else scores + positions.bias).softmax(-1)


def _attention_hook(index: int, receiver: Receiver) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        tokens, *others = args
        for image in tokens.split(1):
            receiver(index, attention_weights(module, image, *others, **kwargs)[0])

    return hook


def _tokens_hook(index: int, receiver: Receiver) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple, tokens: Tensor) -> None:
        receiver(index, tokens)

    return hook

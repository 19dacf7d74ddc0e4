"""The projection of an image's patches to tokens."""

from __future__ import annotations

from mmcv.cnn.bricks.transformer import PatchEmbed
from torch import Tensor, nn
from torch.nn import functional


class PatchEmbedding(PatchEmbed):
    """mmcv's ``PatchEmbed``, by a matrix product where patches do not overlap.

    The convolution and its parameters stay. On a CPU its backward pass is five times as slow as
    that of the product in bf16; on an H200 cuDNN computes it without tensor cores, 1.5 ms for 256
    images of 224 pixels, and in float32 it would round to TF32.
    """

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Maps images (B, C, H, W) to tokens (B, h * w, D) and the grid (h, w)."""
        conv = self.projection
        if not _is_linear(conv, images):
            return super().forward(images)
        rows, columns = conv.kernel_size
        # (B, C, h, rows, w, columns)
        patches = images.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))
        grid = patches.shape[2], patches.shape[4]
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        tokens = functional.linear(patches, conv.weight.flatten(1), conv.bias)
        return tokens if self.norm is None else self.norm(tokens), grid


def _is_linear(conv: nn.Module, images: Tensor) -> bool:
    """Whether a module maps each patch of the images alone: a convolution that tiles them."""
    return (
        type(conv) is nn.Conv2d
        and conv.stride == conv.kernel_size
        and conv.padding == (0, 0)
        and conv.dilation == (1, 1)
        and conv.groups == 1
        and all(size % side == 0 for size, side in zip(images.shape[-2:], conv.stride, strict=True))
    )

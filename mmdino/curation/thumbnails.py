"""Thumbnails of raw pixels as features, the baseline of any network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmdino.curation.options import PIXELS
from mmdino.evaluation.bank_extraction import Evaluated

SIDE = 16


class Thumbnail(nn.Module):
    """Averages squares of pixels and subtracts the image's mean of each channel.

    Args:
        crop: Side of the images in pixels, a multiple of ``side``.
        side: Side of the thumbnail.

    Raises:
        ValueError: If the crop is no multiple of the side.
    """

    def __init__(self, crop: int, side: int = SIDE) -> None:
        super().__init__()
        if crop < side or crop % side:
            raise ValueError(
                f"Thumbnails have {side} x {side} pixels, so that --crop must be a multiple of "
                f"{side}, not {crop}."
            )
        patch = crop // side
        self.average = nn.Conv2d(3, 3, patch, stride=patch, bias=False)
        nn.init.zeros_(self.average.weight)
        for channel in range(3):
            nn.init.constant_(self.average.weight[channel, channel], patch**-2)

    def forward(self, images: Tensor) -> Tensor:
        """Maps images (B, 3, H, W) to features (B, 3 * side * side)."""
        thumbnails = self.average(images).flatten(2)
        return (thumbnails - thumbnails.mean(2, keepdim=True)).flatten(1)


def thumbnails(crop: int) -> Evaluated:
    """Returns the network of thumbnails of images of ``crop`` pixels."""
    with torch.no_grad():
        network = Thumbnail(crop).eval().requires_grad_(False)
    return Evaluated(network, PIXELS, f"thumbnail of {SIDE} x {SIDE} pixels")

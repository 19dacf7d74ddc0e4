"""Rotary positions of patches."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmdino.models.layers.position_encoding import RelativePositions
from mmdino.models.layers.precision import at_least_float32
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number
from mmdino.utils.rotary import ROTARY_BASE, rotary_periods


@MODELS.register_module()
class RotaryPositions(nn.Module):
    """Rotations of queries and keys by the place of their patch (Su et al. 2021), as in DINOv3.

    The centre of a patch has coordinates from -1 to 1 on each axis, whatever the size of the
    image. Half of the angles are 2 pi times the vertical coordinate over a period, half the
    horizontal one; the class token and the registers are not rotated.

    In training the coordinates can be shifted, stretched on each axis, and scaled. Each block of
    a :class:`VisionTransformer` draws anew. Evaluation changes nothing.

    Args:
        head_dims: Width d of a head, a multiple of 4.
        base: The periods are base^(4 i / d), i from 0 to d / 4 - 1.
        shift: If given, a number from -shift to shift is added on each axis.
        jitter: If given, each axis is multiplied by a factor from 1 / jitter to jitter, uniform in
            its logarithm.
        rescale: If given, both axes are multiplied by one such factor. The published models of
            DINOv3 are trained with 2 and neither shift nor jitter.

    Raises:
        TypeError: If what must be a number is none.
        ValueError: If a number is out of range.

    Example:
        >>> backbone = dict(
        ...     type="mmdino.VisionTransformer", arch="deit-small", learned_positions=False,
        ...     position_encoding=dict(type="mmdino.RotaryPositions", head_dims=64, rescale=2))
    """

    def __init__(
        self,
        head_dims: int = 64,
        base: float = ROTARY_BASE,
        shift: float | None = None,
        jitter: float | None = None,
        rescale: float | None = None,
    ) -> None:
        super().__init__()
        require_number("RotaryPositions", "head_dims", head_dims, least=4, whole=True)
        if head_dims % 4:
            raise ValueError(
                f"RotaryPositions got head_dims={head_dims}; it must be a multiple of 4, for sines "
                "and cosines on two axes. Set another number of heads."
            )
        require_number("RotaryPositions", "base", base, above=0)
        drawn = {"shift": (shift, 0), "jitter": (jitter, 1), "rescale": (rescale, 1)}
        for name, (value, least) in drawn.items():
            if value is not None:
                require_number("RotaryPositions", name, value, least=least)
        self.head_dims = head_dims
        self.shift = shift
        self.jitter = jitter
        self.rescale = rescale
        # In the state dict, since files of DINOv3 have it.
        self.register_buffer("periods", rotary_periods(head_dims, base))

    @property
    def varies(self) -> bool:
        """Whether each call draws coordinates of its own."""
        drawn = (self.shift, self.jitter, self.rescale)
        return self.training and any(value is not None for value in drawn)

    def forward(self, grid: tuple[int, int]) -> RelativePositions:
        """Returns the rotations of the patches of a grid (rows, columns)."""
        periods = at_least_float32(self.periods)
        axes = [
            (torch.arange(side, dtype=periods.dtype, device=periods.device) + 0.5) / side * 2 - 1
            for side in grid
        ]
        # (P, 2): row and column of each patch.
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)
        if self.varies:
            places = self._augmented(places)
        angles = 2 * math.pi * places.unsqueeze(-1) / periods
        angles = angles.flatten(1).repeat(1, 2)
        return RelativePositions(rotation=(angles.cos(), angles.sin()))

    def _augmented(self, places: Tensor) -> Tensor:
        if self.shift is not None:
            places = places + places.new_empty(2).uniform_(-self.shift, self.shift)
        # One factor for each axis, and one for both.
        for bound, number in ((self.jitter, 2), (self.rescale, 1)):
            if bound is not None:
                limit = math.log(bound)
                places = places * places.new_empty(number).uniform_(-limit, limit).exp()
        return places

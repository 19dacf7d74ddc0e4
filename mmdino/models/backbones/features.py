"""What a backbone gives for images of one size."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Features(NamedTuple):
    """The tokens of one forward pass: class token, registers and patches.

    A backbone returns them with ``out_type="features"``.
    """

    cls: Tensor
    """Class token (B, D)."""
    registers: Tensor
    """Register tokens (B, R, D); R may be 0."""
    patches: Tensor
    """Patch tokens (B, h * w, D), row by row."""
    grid: tuple[int, int]
    """Rows h and columns w of patches."""

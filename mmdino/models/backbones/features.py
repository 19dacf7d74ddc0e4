"""What a backbone gives for images of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Features(NamedTuple):
    """The tokens of one forward pass: class token, registers and patches.

    A backbone returns them with ``out_type="features"``.
    """

    cls: Tensor
    """Class token (B, D)."""
    registers: Tensor | None
    """Register tokens (B, R, D); R may be 0. None where the caller did not read all tokens."""
    patches: Tensor | None
    """Patch tokens (B, h * w, D), row by row; (M, D) of those that the caller reads; or None."""
    grid: tuple[int, int]
    """Rows h and columns w of patches."""


def last_output(outputs: Tensor | Features | Sequence[Tensor | Features]) -> Tensor:
    """Returns the last of a backbone's outputs; of :class:`Features` that is the class token."""
    if isinstance(outputs, (tuple, list)) and not isinstance(outputs, Features) and outputs:
        outputs = outputs[-1]
    return outputs.cls if isinstance(outputs, Features) else outputs

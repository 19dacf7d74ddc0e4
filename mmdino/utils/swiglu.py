"""Widths of gated feed-forward networks."""

from __future__ import annotations


def swiglu_width(hidden_dims: int, align: int = 8) -> int:
    """Returns the width of a SwiGLU in place of two layers with ``hidden_dims`` between.

    It is two thirds, so that both have about as many weights, rounded up to a multiple of
    ``align``.
    """
    return -(-int(hidden_dims * 2 / 3) // align) * align

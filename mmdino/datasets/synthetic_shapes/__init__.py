"""Synthetic images of shapes, for runs without any data."""

from mmdino.datasets.synthetic_shapes.drawn_shapes import DrawnShapes

__all__ = ["DrawnShapes"]

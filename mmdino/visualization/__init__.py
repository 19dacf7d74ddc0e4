"""Figures of runs and of attention."""

from mmdino.visualization.training_figure import (
    TrainingCurves,
    curves_as_json,
    displayable,
    draw_training_figure,
    shown_levels,
    write_training_figure,
)

__all__ = [
    "TrainingCurves",
    "curves_as_json",
    "displayable",
    "draw_training_figure",
    "shown_levels",
    "write_training_figure",
]

"""Loops."""

from mmdino.engine.loops.knn_val_loop import KNNValLoop
from mmdino.engine.loops.resumable_train_loop import ResumableTrainLoop
from mmdino.engine.loops.view_val_loop import ViewValLoop

__all__ = ["KNNValLoop", "ResumableTrainLoop", "ViewValLoop"]

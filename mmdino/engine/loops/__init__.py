"""Loops."""

from mmdino.engine.loops.knn_val_loop import KNNValLoop
from mmdino.engine.loops.resumable_train_loop import ResumableTrainLoop

__all__ = ["KNNValLoop", "ResumableTrainLoop"]

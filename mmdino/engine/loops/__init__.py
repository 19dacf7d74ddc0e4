"""Loops."""

from mmdino.engine.loops.dino_train_loop import DINOTrainLoop
from mmdino.engine.loops.knn_val_loop import KNNValLoop

__all__ = ["DINOTrainLoop", "KNNValLoop"]

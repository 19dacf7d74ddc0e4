"""Optimiser wrappers and their constructor."""

from mmdino.engine.optimizers.dino_amp_optim_wrapper import DINOAmpOptimWrapper
from mmdino.engine.optimizers.dino_optim_wrapper import DINOOptimWrapper
from mmdino.engine.optimizers.dino_optim_wrapper_constructor import DINOOptimWrapperConstructor

__all__ = ["DINOAmpOptimWrapper", "DINOOptimWrapper", "DINOOptimWrapperConstructor"]

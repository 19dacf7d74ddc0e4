"""Optimiser wrappers and their constructors."""

from mmdino.engine.optimizers.dino_amp_optim_wrapper import DINOAmpOptimWrapper
from mmdino.engine.optimizers.dino_optim_wrapper import DINOOptimWrapper
from mmdino.engine.optimizers.dino_optim_wrapper_constructor import DINOOptimWrapperConstructor
from mmdino.engine.optimizers.layer_decay_constructor import LayerDecayConstructor
from mmdino.engine.optimizers.linear_probe_constructor import LinearProbeConstructor

__all__ = [
    "DINOAmpOptimWrapper",
    "DINOOptimWrapper",
    "DINOOptimWrapperConstructor",
    "LayerDecayConstructor",
    "LinearProbeConstructor",
]

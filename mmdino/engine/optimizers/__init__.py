"""Optimiser wrappers and their constructors."""

from mmdino.engine.optimizers.decay_groups_constructor import DecayGroupsConstructor
from mmdino.engine.optimizers.layer_decay_constructor import LayerDecayConstructor
from mmdino.engine.optimizers.linear_probe_constructor import LinearProbeConstructor
from mmdino.engine.optimizers.step_optim_wrapper import StepOptimWrapper

__all__ = [
    "DecayGroupsConstructor",
    "LayerDecayConstructor",
    "LinearProbeConstructor",
    "StepOptimWrapper",
]

"""Hooks, loops, optimisers, schedulers and strategies."""

from mmdino.engine import hooks, loops, optimizers, schedulers, strategies

__all__ = ["hooks", "loops", "optimizers", "schedulers", "strategies"]

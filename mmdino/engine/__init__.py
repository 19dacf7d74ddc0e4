"""What a run is made of: hooks, loops, optimisers and schedulers."""

from mmdino.engine import hooks, loops, optimizers, schedulers, strategies

__all__ = ["hooks", "loops", "optimizers", "schedulers", "strategies"]

"""What a run is made of: hooks, loops, optimisers and schedulers."""

from mmdino.engine import hooks, loops, optimizers, schedulers
from mmdino.engine.checkpoints import allow_checkpoint_classes

allow_checkpoint_classes()

__all__ = ["hooks", "loops", "optimizers", "schedulers"]

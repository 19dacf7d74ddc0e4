"""The freeze of the prototypes."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.optim import Optimizer

from mmdino.engine.progress import current_epoch, dino_model
from mmdino.registry import HOOKS


@HOOKS.register_module()
class LastLayerFreezeHook(Hook):
    """Keeps the head's last layer from moving in the first epochs.

    As in the authors' implementation, its gradients are taken away between clipping and the step.
    Its parameters stay trainable throughout, as distributed wrappers want them.

    Args:
        epochs: Number of epochs; 1 in the paper. More helps where the loss does not come down.

    Raises:
        ValueError: If the number is negative.
        TypeError: If the model is not DINO.

    Example:
        >>> custom_hooks = [dict(type="mmdino.LastLayerFreezeHook", epochs=1)]
    """

    def __init__(self, epochs: int = 1) -> None:
        if epochs < 0:
            raise ValueError(f"LastLayerFreezeHook got epochs={epochs}; it may not be negative.")
        self.epochs = epochs

    def before_train(self, runner: Runner) -> None:
        """Hooks into the optimiser."""
        prototypes = list(dino_model(runner, self).head.last_layer.parameters())

        def drop_gradients(optimizer: Optimizer, *_: Any) -> None:
            if current_epoch(runner) < self.epochs:
                for parameter in prototypes:
                    parameter.grad = None

        runner.optim_wrapper.optimizer.register_step_pre_hook(drop_gradients)

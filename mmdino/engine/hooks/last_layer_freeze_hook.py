"""The freeze of the prototypes."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.optim import SGD, Optimizer

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
        ValueError: If the number is negative, or from the run if the optimiser is SGD with momentum
            and ``fused=True``, which cannot start the momentum of a parameter late.
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
        if self.epochs and cannot_start_late(runner.optim_wrapper.optimizer):
            raise ValueError(
                f"LastLayerFreezeHook freezes the last layer for {self.epochs} epoch(s), after "
                "which SGD with fused=True cannot start its momentum. Leave fused out of "
                "optim_wrapper.optimizer, or set the hook's epochs=0."
            )
        prototypes = list(dino_model(runner, self).head.last_layer.parameters())

        def drop_gradients(optimizer: Optimizer, *_: Any) -> None:
            if current_epoch(runner) < self.epochs:
                for parameter in prototypes:
                    parameter.grad = None

        runner.optim_wrapper.optimizer.register_step_pre_hook(drop_gradients)


def cannot_start_late(optimizer: Optimizer) -> bool:
    """Whether an optimiser fails where a parameter gets its first gradient after the others."""
    return isinstance(optimizer, SGD) and any(
        group.get("fused") and group["momentum"] for group in optimizer.param_groups
    )

"""The freeze of the prototypes."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.optim import SGD, Optimizer

from mmdino.engine.model_access import bare_model
from mmdino.engine.progress import current_epoch
from mmdino.registry import HOOKS
from mmdino.utils.numbers import require_number


@HOOKS.register_module()
class LastLayerFreezeHook(Hook):
    """Freezes a layer, the head's last, in the first epochs.

    As in the authors' implementation, its gradients are dropped between clipping and the step. Its
    parameters stay trainable throughout, as distributed wrappers want them.

    Args:
        epochs: Number of epochs; 1 in the paper. More helps if the loss does not decrease.
        layer: Name of the layer within the model.

    Raises:
        ValueError: If the number is negative, or from the run if the optimiser is SGD with momentum
            and ``fused=True``, which cannot start the momentum of a parameter late.
        TypeError: From the run, if the model has no such layer.

    Example:
        >>> default_hooks = dict(
        ...     last_layer_freeze=dict(type="mmdino.LastLayerFreezeHook", epochs=1))
    """

    def __init__(self, epochs: int = 1, layer: str = "head.last_layer") -> None:
        require_number("LastLayerFreezeHook", "epochs", epochs, least=0, whole=True)
        self.epochs = epochs
        self.layer = layer

    def before_train(self, runner: Runner) -> None:
        """Hooks into the optimiser."""
        if self.epochs and cannot_start_late(runner.optim_wrapper.optimizer):
            raise ValueError(
                f"LastLayerFreezeHook freezes the last layer for {self.epochs} epoch(s), after "
                "which SGD with fused=True cannot start its momentum. Leave fused out of "
                "optim_wrapper.optimizer, or set the hook's epochs=0."
            )
        model = bare_model(runner)
        try:
            parameters = list(model.get_submodule(self.layer).parameters())
        except AttributeError as error:
            raise TypeError(
                f"LastLayerFreezeHook has layer={self.layer!r}, which a {type(model).__name__} "
                f"with this config does not have ({error}). Set layer to the name of the layer to "
                "freeze, or switch the hook off (default_hooks.last_layer_freeze=None)."
            ) from error

        def drop_gradients(optimizer: Optimizer, *_: Any) -> None:
            if current_epoch(runner) < self.epochs:
                for parameter in parameters:
                    parameter.grad = None

        runner.optim_wrapper.optimizer.register_step_pre_hook(drop_gradients)


def cannot_start_late(optimizer: Optimizer) -> bool:
    """Whether an optimiser fails where a parameter gets its first gradient after the others."""
    return isinstance(optimizer, SGD) and any(
        group.get("fused") and group["momentum"] for group in optimizer.param_groups
    )

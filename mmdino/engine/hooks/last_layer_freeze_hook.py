"""The freeze of the prototypes, or of another part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor
from torch.optim import SGD, Optimizer

from mmdino.engine.model_access import bare_model
from mmdino.engine.progress import current_epoch, current_step, num_steps, steps_of_epochs
from mmdino.registry import HOOKS
from mmdino.utils.numbers import require_number

WITHHELD = ("gradient", "step", "backward")


@HOOKS.register_module()
class LastLayerFreezeHook(Hook):
    """Freezes a layer, the head's last, in the first epochs or optimiser steps.

    As in DINO's implementation, its gradients are dropped between clipping and the step. Its
    parameters stay with the optimiser throughout, but neither weight decay nor moments act on them.

    Args:
        epochs: Number of epochs; 1 in DINO's paper, and where neither number is given. More helps
            if the loss does not decrease.
        steps: Number of optimiser steps, in place of ``epochs``; 5005 in SwAV's recipe for batches
            of 256, which is an epoch of ImageNet.
        layer: Name of the layer within the model, "loss_function.prototypes" for SwAV; or a list of
            names.
        what: What is withheld: the "gradient"; the "step", as if the rate were 0: the moments of
            the optimiser learn from the gradient all the same (DINOv2); or the "backward" pass, so
            that no gradient is computed, for a backbone that new heads are trained on first. A
            distributed wrapper wants all gradients: there they are computed and withheld.

    Raises:
        ValueError: If both numbers are given or one is negative; from the run if ``steps`` is more
            than it has, or if the optimiser is SGD with momentum and ``fused=True``, which cannot
            start the momentum of a parameter late.
        TypeError: From the run, if the model has no such layer.

    Example:
        >>> default_hooks = dict(
        ...     last_layer_freeze=dict(type="mmdino.LastLayerFreezeHook", epochs=1),
        ...     backbone_freeze=dict(
        ...         type="mmdino.LastLayerFreezeHook", layer="backbone", what="backward"))
    """

    def __init__(
        self,
        epochs: int | None = None,
        steps: int | None = None,
        layer: str | Sequence[str] = "head.last_layer",
        what: Literal["gradient", "step", "backward"] = "gradient",
    ) -> None:
        if what not in WITHHELD:
            raise ValueError(
                f"LastLayerFreezeHook got what={what!r}; it must be one of {WITHHELD}."
            )
        if epochs is not None and steps is not None:
            raise ValueError(
                f"LastLayerFreezeHook got epochs={epochs} and steps={steps}; it takes one of the "
                "two. Set the other to None."
            )
        if steps is None:
            epochs = 1 if epochs is None else epochs
            require_number("LastLayerFreezeHook", "epochs", epochs, least=0, whole=True)
        else:
            require_number("LastLayerFreezeHook", "steps", steps, least=0, whole=True)
        self.epochs = epochs
        self.steps = steps
        self.layer = layer
        self.what = what
        self._without_backward: list[Tensor] = []

    def before_train(self, runner: Runner) -> None:
        """Hooks into the optimiser."""
        unit, length = ("epoch", self.epochs) if self.steps is None else ("step", self.steps)
        starts_late = self.what != "step" and cannot_start_late(runner.optim_wrapper.optimizer)
        if length and starts_late:
            raise ValueError(
                f"LastLayerFreezeHook freezes {self.layer} for {length} {unit}(s), after which "
                "SGD with fused=True cannot start its momentum. Leave fused out of "
                f"optim_wrapper.optimizer, or set the hook's {unit}s=0."
            )
        if self.steps is not None and self.steps > num_steps(runner):
            raise ValueError(
                f"LastLayerFreezeHook freezes {self.layer} for steps={self.steps}, but the run has "
                f"{num_steps(runner)} optimiser step(s). Lower steps, or train longer."
            )
        frozen = steps_of_epochs(runner, self.epochs) if self.steps is None else self.steps
        if frozen and frozen >= num_steps(runner):
            runner.logger.warning(
                f"LastLayerFreezeHook freezes {self.layer} for all {num_steps(runner)} optimiser "
                "step(s) of the run."
            )
        model = bare_model(runner)
        try:
            layers = [model.get_submodule(name) for name in names_of(self.layer)]
        except AttributeError as error:
            raise TypeError(
                f"LastLayerFreezeHook has layer={self.layer!r}, which a {type(model).__name__} "
                f"with this config does not have ({error}). Set layer to the name of the layer to "
                "freeze, or switch the hook off (default_hooks.last_layer_freeze=None)."
            ) from error
        parameters = [parameter for layer in layers for parameter in layer.parameters()]
        if self.what == "step":
            self._undo_steps(runner, parameters)
        elif self.what == "gradient" or is_model_wrapper(runner.model):
            self._drop_gradients(runner, parameters)
        else:
            self._without_backward = [p for p in parameters if p.requires_grad]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Decides whether the backward pass includes the layer."""
        if not self._without_backward:
            return
        is_frozen = self._is_frozen(runner)
        for parameter in self._without_backward:
            parameter.requires_grad_(not is_frozen)

    def _drop_gradients(self, runner: Runner, parameters: list[Tensor]) -> None:
        def drop(optimizer: Optimizer, *_: Any) -> None:
            if self._is_frozen(runner):
                for parameter in parameters:
                    parameter.grad = None

        runner.optim_wrapper.optimizer.register_step_pre_hook(drop)

    def _undo_steps(self, runner: Runner, parameters: list[Tensor]) -> None:
        before: list[Tensor] = []

        def keep(optimizer: Optimizer, *_: Any) -> None:
            if self._is_frozen(runner):
                before.extend(parameter.detach().clone() for parameter in parameters)

        @torch.no_grad()
        def restore(optimizer: Optimizer, *_: Any) -> None:
            if before:
                torch._foreach_copy_(parameters, before)
                before.clear()

        runner.optim_wrapper.optimizer.register_step_pre_hook(keep)
        runner.optim_wrapper.optimizer.register_step_post_hook(restore)

    def _is_frozen(self, runner: Runner) -> bool:
        if self.steps is None:
            return current_epoch(runner) < self.epochs
        return current_step(runner) < self.steps


def names_of(layer: str | Sequence[str]) -> Sequence[str]:
    """Returns the names of the layers to freeze."""
    return [layer] if isinstance(layer, str) else layer


def cannot_start_late(optimizer: Optimizer) -> bool:
    """Whether an optimiser fails where a parameter gets its first gradient after the others."""
    return isinstance(optimizer, SGD) and any(
        group.get("fused") and group["momentum"] for group in optimizer.param_groups
    )

"""What hooks, loops and strategies ask of the model of a run: capabilities, never a class."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmdino.weights.pretrained import pretrained_cfg


def bare_model(runner: Runner) -> nn.Module:
    """Returns the model of a run without its distributed wrapper."""
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def starts_from_weights(runner: Runner) -> bool:
    """Returns whether a run starts from a file: ``load_from``, or the backbone's ``init_cfg``."""
    backbone = getattr(bare_model(runner), "backbone", None)
    given = pretrained_cfg(getattr(backbone, "init_cfg", None))
    return runner._load_from is not None or given is not None


def modules_with(runner: Runner, attribute: str, asked_by: Any) -> list[nn.Module]:
    """Returns the modules of a run's model that offer something.

    Args:
        runner: The runner.
        attribute: Name of the method or attribute that they must have.
        asked_by: The hook that needs it, for the message.

    Raises:
        TypeError: If no module has it.
    """
    model = bare_model(runner)
    found = [module for module in model.modules() if hasattr(module, attribute)]
    if not found:
        hook = type(asked_by).__name__
        raise TypeError(
            f"{hook} works on a model with a module that has {attribute!r}, but the run trains a "
            f"{type(model).__name__}, which has none. Switch the hook off "
            "(default_hooks.NAME=None, where NAME is its key in the config), or change the model."
        )
    return found


def mark_met(runner: Runner, need: str) -> None:
    """Tells the model of a run that a hook takes care of one of its needs."""
    model = bare_model(runner)
    if hasattr(model, "mark_met"):
        model.mark_met(need)

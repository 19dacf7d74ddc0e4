"""Logging of what the model returns, without waiting for it."""

from __future__ import annotations

from typing import Any

import mmengine.hooks
from mmengine.runner import Runner

from mmdino.engine.deferred_history import DeferredHistory, log_scalar
from mmdino.registry import HOOKS


@HOOKS.register_module()
class RuntimeInfoHook(mmengine.hooks.RuntimeInfoHook):
    """mmengine's ``RuntimeInfoHook``, for which the host does not wait for the device.

    What the model returns is kept where it is until it is read, for a line of the log or a
    checkpoint. The logged values are the same. So are all that others log; to add one takes the
    same time after a million iterations as at the first.

    Example:
        >>> default_hooks = dict(runtime_info=dict(type="mmdino.RuntimeInfoHook"))
    """

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Logs what the model returned."""
        hub = runner.message_hub
        for name, value in (outputs or {}).items():
            log_scalar(hub, f"train/{name}", value)
        for name, history in hub.log_scalars.items():
            if not isinstance(history, DeferredHistory):
                hub.log_scalars[name] = DeferredHistory(history)

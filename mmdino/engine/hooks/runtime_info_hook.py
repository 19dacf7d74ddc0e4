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

    What the model returns stays on the device until somebody reads it, for a line of the log or a
    checkpoint. The values are the same. To add one, whoever logs it, takes no longer after a
    million iterations than at the first.

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

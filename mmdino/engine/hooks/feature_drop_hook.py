"""The warning that training makes loaded features worse."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from mmdino.engine.model_access import starts_from_weights
from mmdino.registry import HOOKS

KEY = "knn_at_start"


@HOOKS.register_module()
class FeatureDropHook(Hook):
    """Warns when k-NN accuracy falls below that of the weights that a run starts from.

    Continuing from pretrained weights with the settings of a run from scratch degrades them, at
    least at first. The reference is the validation at iteration 0, which ``ResumableTrainLoop``
    runs if weights were loaded. It is in the checkpoint, so a resumed run compares with it too. A
    run from scratch is not compared: its first epochs may well be below the random weights.

    Args:
        metric: Name of the metric, in percent; higher is better.
        tolerance: Percentage points by which it may fall without a warning.

    Raises:
        ValueError: If the tolerance is negative.

    Example:
        >>> default_hooks = dict(feature_drop=dict(type="mmdino.FeatureDropHook", tolerance=0.5))
    """

    def __init__(self, metric: str = "knn/top1", tolerance: float = 0.0) -> None:
        if tolerance < 0:
            raise ValueError(f"FeatureDropHook got tolerance={tolerance}; it must be at least 0.")
        self.metric = metric
        self.tolerance = tolerance
        self._training = False

    def before_train(self, runner: Runner) -> None:
        """Notes that validations from here on are those of a training run."""
        self._training = True

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Records the first metric and compares later ones with it."""
        found = (metrics or {}).get(self.metric)
        if found is None or not self._training:
            return
        hub: MessageHub = runner.message_hub
        if runner.iter == 0:
            if starts_from_weights(runner):
                hub.update_info(KEY, float(found))
            runner.logger.info(f"{self.metric} at iteration 0: {found:.2f} %.")
            return
        start = hub.runtime_info.get(KEY)
        if start is not None and found < start - self.tolerance:
            runner.logger.warning(
                f"{self.metric} is {found:.2f} %, below the {start:.2f} % of the initial weights:"
                " training makes the features worse. Lower optim_wrapper.optimizer.lr, lengthen the"
                " warm-up (param_scheduler.0.warmup), bring default_hooks.ema_teacher.momentum "
                "nearer to 1, and start with the head and the centre of the same file, or train a "
                "new head first, with the backbone frozen (default_hooks.backbone_freeze in "
                "configs/dinov2/dinov2_continue_vits14.py); the first epochs may dip and recover."
            )

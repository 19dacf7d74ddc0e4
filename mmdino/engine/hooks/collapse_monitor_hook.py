"""The warning of a collapse."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.progress import dino_model
from mmdino.registry import HOOKS

UNIFORM = (
    "The teacher says the same of every prototype (its entropy is {entropy:.3f} of at most "
    "{bound:.3f}) and the student agrees: a collapse to the uniform distribution. Try, in this "
    "order: a lower teacher temperature (model.loss.teacher_temp=0.02 to 0.03), a longer "
    "learning-rate warm-up, a teacher momentum nearer to 1, fewer prototypes (out_channels)."
)
ONE_POINT = (
    "The teacher gives every view the same prototype (its entropy is {entropy:.4f}) and the "
    "student agrees: a collapse to one point. Check that CenterUpdateHook runs; try, in this "
    "order: a lower center_momentum, a higher teacher temperature, a lower learning rate."
)


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
    """Says which of the two collapses a run is in, and what to try.

    Without sharpening the teacher's entropy goes to ln K, without centring to 0; in both the
    divergence between teacher and student goes to 0 (Caron et al. 2021, section 5.3). The log line
    has the figures at every interval; this hook reads them.

    Args:
        interval: Iterations between two looks.
        patience: Looks in a row that must show a collapse before it is reported.
        margin: How near to a bound counts, as a share of ln K.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> custom_hooks = [dict(type="mmdino.CollapseMonitorHook")]
    """

    def __init__(self, interval: int = 50, patience: int = 4, margin: float = 0.005) -> None:
        if interval < 1 or patience < 1 or not 0 < margin < 0.5:
            raise ValueError(
                f"CollapseMonitorHook got interval={interval}, patience={patience}, "
                f"margin={margin}; the first two must be at least 1, the margin within (0, 0.5)."
            )
        self.interval = interval
        self.patience = patience
        self.margin = margin
        self._suspicions = 0

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Looks at the figures of the iteration."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        bound = math.log(dino_model(runner, self).dino_loss.num_prototypes)
        entropy = float(outputs["teacher_entropy"])
        message = collapse(entropy, float(outputs["kl"]), bound, self.margin)
        self._suspicions = self._suspicions + 1 if message else 0
        if message and self._suspicions == self.patience:
            runner.logger.warning(message.format(entropy=entropy, bound=bound))


def collapse(entropy: float, kl: float, bound: float, margin: float) -> str | None:
    """Tells the collapse that figures show.

    Args:
        entropy: Entropy of the teacher in nats.
        kl: KL(teacher || student) in nats.
        bound: ln K.
        margin: How near to a bound counts, as a share of ln K.

    Returns:
        The message with places for ``entropy`` and ``bound``, or None where there is no collapse.
    """
    if kl > margin * bound:
        return None
    if entropy > (1 - margin) * bound:
        return UNIFORM
    if entropy < margin * bound:
        return ONE_POINT
    return None

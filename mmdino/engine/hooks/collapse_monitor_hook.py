"""The warning of a collapse."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmdino.engine.deferred_history import known_values
from mmdino.engine.host_reads import HostCopy, waits
from mmdino.engine.model_access import bare_model
from mmdino.registry import HOOKS
from mmdino.utils.numbers import require_number

KINDS = {
    "uniform": (
        "the targets are uniform over prototypes (their entropy is {entropy:.3f} of at most "
        "{bound:.3f}) and the student matches them: a collapse to the uniform distribution"
    ),
    "one_point": (
        "the targets assign nearly every view to the same prototype (their entropy is "
        "{entropy:.4f} of at most {bound:.3f}) and the student follows them: a collapse to one "
        "point"
    ),
}
"""Kinds of collapse that the entropy of the targets shows."""
METRICS = ("teacher_entropy", "kl", "entropy_bound", "used_prototypes", "feature_std")
"""What is read of a model's outputs, as far as it has it."""
FEW_PROTOTYPES = 0.05
FEW_ENTROPY, FEW_KL = 0.06, 0.1
"""On the way to one point: fraction of the possible prototypes in use, and entropy and divergence
as fractions of the bound. A run without a moving centre was below these after 40 iterations, and
below ``margin`` after 160; the lowest entropy of runs that went well was 0.23."""
HEAD_ALONE = (
    "The head has collapsed, not the features: images still differ in them (feature_std is "
    "{spread:.3f}), but they learn nothing more."
)
SAME_FEATURE = (
    "all images have nearly the same feature (feature_std is {spread:.4f}, was up to "
    "{highest:.3f}, and is about 1 for features spread over the sphere): a collapse of the "
    "representation"
)
FEATURE_ADVICE = (
    "Check that targets get no gradient where the method stops it, and that the teacher moves; "
    "try, in this order: a lower learning rate, a longer warm-up, a larger batch."
)
NO_ADVICE = dict.fromkeys(KINDS, "")
"""For losses that log an entropy and know nothing to try."""
WARNING = "Iteration {iteration}, since about iteration {since}: {found}"
ALL_CLEAR = "Iteration {iteration}: no sign of a collapse any more."
IN_LOG = re.compile(
    r"Iteration (?P<told>\d+), since about iteration (?P<since>\d+): (?P<found>.*)"
    r"|Iteration (?P<over>\d+): no sign of a collapse any more\."
)
"""Both, in the log of a run."""


class UnreadMetrics(NamedTuple):
    """Metrics of an iteration that are still to be read."""

    iteration: int
    """The iteration, from 1."""
    names: list[str]
    metrics: HostCopy


@dataclass(frozen=True)
class Signs:
    """What the metrics of an iteration show.

    Attributes:
        targets: Kind of collapse of the targets, a key of ``KINDS``, or None.
        features: Whether the features have collapsed.
        values: The metrics, by their names in the messages.
    """

    targets: str | None
    features: bool
    values: Mapping[str, float]

    @property
    def any(self) -> bool:
        """Whether anything has collapsed."""
        return self.targets is not None or self.features


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
    """Warns when a run has collapsed: since when, what has collapsed, and what to try.

    It reads what a method logs. Where that has a teacher entropy: without sharpening it goes to its
    bound, without centring to 0, and in both the divergence between teacher and student goes to 0
    (Caron et al. 2021, section 5.3). This is a collapse of the head, which the features may or may
    not follow. For all methods: the spread of the features goes to 0. What to try is the loss's
    ``collapse_advice``, a text for each kind of collapse that its targets can come to.

    Args:
        interval: Iterations between two checks.
        patience: Consecutive checks that must show a collapse before it is reported.
        margin: How near to a bound of the entropy counts, as a fraction of the bound.
        min_spread: Fraction of the highest ``feature_std`` so far below which features count as
            collapsed.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> default_hooks = dict(collapse_monitor=dict(type="mmdino.CollapseMonitorHook"))
    """

    def __init__(
        self,
        interval: int = 10,
        patience: int = 4,
        margin: float = 0.005,
        min_spread: float = 0.05,
    ) -> None:
        for name, count in {"interval": interval, "patience": patience}.items():
            require_number("CollapseMonitorHook", name, count, least=1, whole=True)
        require_number("CollapseMonitorHook", "margin", margin, above=0, below=0.5)
        require_number("CollapseMonitorHook", "min_spread", min_spread, above=0, below=1)
        self.interval = interval
        self.patience = patience
        self.margin = margin
        self.min_spread = min_spread
        self._suspicions = 0
        self._advice: Mapping[str, str] = NO_ADVICE
        self._unread: UnreadMetrics | None = None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Checks the metrics of every ``interval``-th iteration, on a device one later."""
        self._check(runner)
        if not self.every_n_train_iters(runner, self.interval):
            return
        names = [name for name in METRICS if name in outputs]
        if not names:
            return
        metrics = [outputs[name] for name in names]
        self._unread = UnreadMetrics(runner.iter + 1, names, HostCopy(metrics))
        if not waits(metrics[0]):
            self._check(runner)

    def after_train(self, runner: Runner) -> None:
        """Checks what the last iteration left."""
        self._check(runner)

    def _check(self, runner: Runner) -> None:
        unread, self._unread = self._unread, None
        if unread is None:
            return
        metrics = dict(zip(unread.names, unread.metrics.read(), strict=True))
        signs = self._signs(runner, metrics)
        if signs.any:
            self._suspicions += 1
            if self._suspicions == self.patience:
                since = unread.iteration - (self.patience - 1) * self.interval
                runner.logger.warning(self._message(signs, unread.iteration, since))
        else:
            if self._suspicions >= self.patience:
                # As visible as the warning that it takes back.
                runner.logger.warning(ALL_CLEAR.format(iteration=unread.iteration))
            self._suspicions = 0

    def before_train(self, runner: Runner) -> None:
        """Starts anew, since a hook may serve several runs, and asks the loss for its advice."""
        self._suspicions = 0
        self._unread = None
        modules = bare_model(runner).modules()
        advice = (
            module.collapse_advice for module in modules if hasattr(module, "collapse_advice")
        )
        self._advice = next(advice, NO_ADVICE)

    def _signs(self, runner: Runner, metrics: Mapping[str, float]) -> Signs:
        targets, features, values = None, False, {}
        if "teacher_entropy" in metrics:
            entropy, bound = metrics["teacher_entropy"], metrics["entropy_bound"]
            used = metrics.get("used_prototypes")
            kind = entropy_collapse(entropy, metrics["kl"], bound, self.margin, used)
            # Sharp targets of Sinkhorn-Knopp that the student matches are no collapse.
            targets = kind if kind in self._advice else None
            values |= {"entropy": entropy, "bound": bound}
        if "feature_std" in metrics:
            spread = metrics["feature_std"]
            # The history is in the checkpoint, so that a resumed run knows the highest too.
            history = known_values(runner.message_hub.get_scalar("train/feature_std"))
            # By NumPy: it may hold a million values, and is asked often.
            highest = float(np.fmax(np.fmax.reduce(history), spread))
            features = spread < self.min_spread * highest
            values |= {"spread": spread, "highest": highest}
        return Signs(targets, features, values)

    def _message(self, signs: Signs, iteration: int, since: int) -> str:
        found = [KINDS[signs.targets]] if signs.targets else []
        found += [SAME_FEATURE] if signs.features else []
        parts = [f"{'; and '.join(found)}."]
        if not signs.features and "spread" in signs.values:
            parts.append(HEAD_ALONE)
        text = " ".join(parts).format(**signs.values)
        text = WARNING.format(iteration=iteration, since=since, found=text)
        advice = self._advice[signs.targets] if signs.targets else FEATURE_ADVICE
        return f"{text} {advice}".rstrip()


class Told(NamedTuple):
    """What the log of a run says of a collapse."""

    since: int
    """Iteration since about which."""
    found: str
    """What has collapsed, and what to try."""
    over: int | None = None
    """Iteration at which there was no sign of it any more; None if there was none."""


def told_collapse(messages: Iterable[str]) -> Told | None:
    """Returns the last collapse that a run's messages tell of, None if they tell of none.

    Args:
        messages: Messages of the log, in order. A warning repeated after a resume, without an
            all-clear between, is of the same collapse.
    """
    told = None
    for match in filter(None, map(IN_LOG.match, messages)):
        if match["over"] is None:
            since = told.since if told and told.over is None else int(match["since"])
            told = Told(since, match["found"])
        elif told is not None:
            told = told._replace(over=int(match["over"]))
    return told


def entropy_collapse(
    entropy: float, kl: float, bound: float, margin: float, used: float | None = None
) -> str | None:
    """Returns the kind of collapse that a teacher's entropy shows.

    Args:
        entropy: Entropy of the teacher in nats.
        kl: KL(teacher || student) in nats.
        bound: Largest entropy possible, ln K.
        margin: How near to a bound counts, as a fraction of ``bound``.
        used: Prototypes in use, as a fraction of those that the batch could use; if given, few of
            them and a low entropy count as one point before the bound is reached.

    Returns:
        A key of ``KINDS``, or None if there is no collapse.
    """
    if kl <= margin * bound:
        if entropy > (1 - margin) * bound:
            return "uniform"
        if entropy < margin * bound:
            return "one_point"
    few = used is not None and used <= FEW_PROTOTYPES
    if few and entropy < FEW_ENTROPY * bound and kl < FEW_KL * bound:
        return "one_point"
    return None

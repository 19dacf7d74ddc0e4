"""When Gram anchoring acts, and what its teacher is."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmdino.engine.model_access import bare_model, mark_met, modules_with
from mmdino.engine.progress import current_step, num_steps
from mmdino.registry import HOOKS
from mmdino.schedules import late_cosine
from mmdino.utils.numbers import require_number
from mmdino.weights.pretrained import pretrained_cfg


@HOOKS.register_module()
class GramAnchorHook(Hook):
    """Starts the Gram term of :class:`DINOv2` and renews its teacher (DINOv3, arXiv 2508.10104).

    The weight of the term is 0 before ``start``, then rises on half a cosine to that of
    ``model.gram`` within ``warmup`` steps, and stays. All numbers are optimiser steps, counted from
    0, so that a resumed run and one with accumulation do the same.

    Args:
        start: First step with the term; 1,000,000 for DINOv3's largest model.
        warmup: Length of the rise, both ends included; 1000 there.
        first_refresh: Step before which the weights of the teacher of moving averages are first
            copied to the Gram teacher; 1,010,000 there. With 0 the Gram teacher is the teacher that
            the run starts from. None copies nothing.
        refresh_interval: Steps from each copy to the next; 10,000 there. None: a single copy.
        max_refreshes: Number of copies at most, 3 there; None for no limit.
        local_weight: Factor of the class term of local views that goes with the full weight, from 1
            without Gram term; 0.5 there.

    Raises:
        TypeError: If what must be a number is none; from the run, if the model has no Gram term.
        ValueError: If a number is out of range, or there are options of copies without
            ``first_refresh``; from the run, if it ends before ``start`` or ``first_refresh``, the
            Gram teacher would be random, or is the teacher of moving averages and needs no copies.

    Example:
        >>> default_hooks = dict(
        ...     gram_anchor=dict(
        ...         type="mmdino.GramAnchorHook", start=1000, warmup=100, first_refresh=1000))
    """

    def __init__(
        self,
        start: int = 0,
        warmup: int = 0,
        first_refresh: int | None = None,
        refresh_interval: int | None = None,
        max_refreshes: int | None = None,
        local_weight: float = 1.0,
    ) -> None:
        counts = {"start": (start, 0), "warmup": (warmup, 0), "first_refresh": (first_refresh, 0)}
        counts |= {"refresh_interval": (refresh_interval, 1), "max_refreshes": (max_refreshes, 1)}
        for name, (value, least) in counts.items():
            if value is not None or name in ("start", "warmup"):
                require_number("GramAnchorHook", name, value, least=least, whole=True)
        require_number("GramAnchorHook", "local_weight", local_weight, least=0)
        if first_refresh is None and (refresh_interval, max_refreshes) != (None, None):
            raise ValueError(
                f"GramAnchorHook got refresh_interval={refresh_interval} and max_refreshes="
                f"{max_refreshes} without first_refresh. Set first_refresh to the step of the "
                "first copy, or leave out the other two."
            )
        self.start = start
        self.warmup = warmup
        self.first_refresh = first_refresh
        self.refresh_interval = refresh_interval
        self.max_refreshes = max_refreshes
        self.local_weight = local_weight
        self._anchor: nn.Module | None = None
        self._local_losses: list[nn.Module] = []

    def before_train(self, runner: Runner) -> None:
        """Finds the Gram term and checks that it has a teacher."""
        (self._anchor,) = modules_with(runner, "current_gram_weight", self)
        if self.local_weight != 1:
            self._local_losses = modules_with(runner, "local_weight", self)
        self._check_length(runner)
        if self._anchor.backbone is None:
            self._refuse_copies()
        elif not self._anchor.is_pretrained:
            self._check_teacher(runner)
        mark_met(runner, "gram_teacher")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Sets the weights of the step, and copies the teacher if that is due."""
        step = current_step(runner)
        if self.refreshes_before(step):
            # In each micro-batch of the step, in which the teacher does not move.
            self._anchor.refresh(bare_model(runner).teacher["backbone"])
        weight = late_cosine(step, self.start, self.warmup, 0.0, self._anchor.weight)
        self._anchor.current_gram_weight = weight
        runner.message_hub.update_scalar("train/gram_weight", weight)
        for loss in self._local_losses:
            loss.local_weight = late_cosine(step, self.start, self.warmup, 1.0, self.local_weight)
            runner.message_hub.update_scalar("train/local_weight", loss.local_weight)

    def refreshes_before(self, step: int) -> bool:
        """Whether the Gram teacher is replaced before a step."""
        if self.first_refresh is None or step < self.first_refresh:
            return False
        if self.refresh_interval is None:
            return step == self.first_refresh
        count, rest = divmod(step - self.first_refresh, self.refresh_interval)
        return not rest and (self.max_refreshes is None or count < self.max_refreshes)

    def _check_length(self, runner: Runner) -> None:
        steps = num_steps(runner)
        for name in ("start", "first_refresh"):
            value = getattr(self, name)
            if value is not None and value >= steps:
                raise ValueError(
                    f"GramAnchorHook has {name}={value}, but the run has {steps} optimiser "
                    f"step(s). Lower {name}, train longer, or leave out model.gram and the hook."
                )
        if self.start + self.warmup > steps:
            runner.logger.warning(
                f"GramAnchorHook has start={self.start} and warmup={self.warmup}, but the run has "
                f"{steps} optimiser step(s): the weight does not come to {self._anchor.weight}."
            )

    def _refuse_copies(self) -> None:
        if self.first_refresh is not None:
            raise ValueError(
                f"GramAnchorHook has first_refresh={self.first_refresh}, but the Gram teacher is "
                "the teacher of moving averages itself. Leave out first_refresh, or give it a "
                "network of its own: model.gram.teacher=dict()."
            )

    def _check_teacher(self, runner: Runner) -> None:
        """Checks that trained weights are copied to a Gram teacher without any before it acts."""
        checkpoint = (
            "name a checkpoint in model.gram.teacher.init_cfg=dict(type='Pretrained', "
            "checkpoint=FILE)"
        )
        if self.first_refresh is None or self.first_refresh > self.start:
            raise ValueError(
                f"The Gram teacher would be random at step {self.start}, at which the term starts, "
                f"since GramAnchorHook has first_refresh={self.first_refresh}. Set first_refresh "
                f"to {self.start} or less, or {checkpoint}."
            )
        student = getattr(bare_model(runner).backbone, "init_cfg", None)
        is_loaded = runner.iter > 0 or runner._load_from or pretrained_cfg(student)
        if not is_loaded and not any(map(self.refreshes_before, range(1, self.start + 1))):
            raise ValueError(
                "The Gram teacher would be a copy of the teacher before training, which is random. "
                "Set load_from to a checkpoint of the main run, first_refresh and start to a later "
                f"step, or {checkpoint}."
            )

"""Base of schedulers whose value is a function of the optimiser step."""

from __future__ import annotations

from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mmdino.schedules import step_of
from mmdino.utils.numbers import require_number


class StepScheduler(_ParamScheduler):
    """Sets a parameter of the optimiser's groups to a function of the optimiser step.

    mmengine's schedulers multiply the value of the previous step: a warm-up cannot start at 0,
    errors accumulate, and with accumulation they advance every micro-batch. This one computes each
    value from the step alone; it is the same for all micro-batches of a step.

    Args:
        optimizer: The optimiser wrapper.
        param_name: Key of the groups.
        end: Length of the run, in micro-batches. The runner fills it in.
        last_step: As in mmengine.
        by_epoch: Whether lengths are in epochs, mmengine's default. Must be False here; a config
            has ``by_epoch=True, convert_to_iter_based=True``.
        verbose: Not used.

    Raises:
        ValueError: If values by epoch are asked for.
    """

    lengths: tuple[str, ...] = ()
    """Names of arguments that are lengths of time."""

    def __init__(
        self,
        optimizer: OptimWrapper,
        param_name: str,
        end: int,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        if by_epoch:
            raise ValueError(
                f"{type(self).__name__} changes its value every optimiser step. Add "
                "convert_to_iter_based=True to its config, or set by_epoch=False and give lengths "
                "in iterations."
            )
        super().__init__(optimizer, param_name, 0, end, last_step, False, verbose)

    @classmethod
    def build_iter_from_epoch(
        cls, *args: Any, end: int, epoch_length: int, by_epoch: bool = True, **kwargs: Any
    ) -> StepScheduler:
        """Builds from lengths in epochs, as mmengine does for ``convert_to_iter_based``.

        They may be fractions, of which the nearest number of micro-batches is taken.
        """
        for name in cls.lengths:
            if name in kwargs:
                require_number(cls.__name__, name, kwargs[name], least=0)
                kwargs[name] = round(kwargs[name] * epoch_length)
        return cls(*args, end=end * epoch_length, by_epoch=False, **kwargs)

    def steps(self, micro_batches: int) -> int:
        """Returns how many optimiser steps the first micro-batches of a run begin."""
        counts = getattr(self.optimizer, "_accumulative_counts", 1)
        epoch_length = getattr(self.optimizer, "epoch_length", None)
        return step_of(micro_batches - 1, counts, epoch_length) + 1

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the run."""
        return self.steps(self.end)

    def value(self, step: int, base: float, group: dict) -> float:
        """Returns the value in a group.

        Args:
            step: Optimiser step, 0 to ``num_steps - 1``.
            base: Configured value of the group.
            group: The group.
        """
        raise NotImplementedError

    def state_dict(self) -> dict:
        """Returns the position; everything else follows from the config."""
        return {"_global_step": self._global_step}

    def load_state_dict(self, state_dict: dict) -> None:
        """Moves to the position of a checkpoint."""
        self._global_step = state_dict["_global_step"] - 1
        self.step()

    def step(self) -> None:
        """Advances by one micro-batch."""
        self._global_step += 1
        self.apply()

    def apply(self) -> None:
        """Sets the values of the current micro-batch's step."""
        # The runner steps once more after the last iteration.
        step = min(self.steps(self._global_step + 1), self.num_steps) - 1
        self.last_step = step
        for group, base in zip(self.optimizer.param_groups, self.base_values, strict=True):
            group[self.param_name] = self.value(step, base, group)
        self._last_value = [group[self.param_name] for group in self.optimizer.param_groups]

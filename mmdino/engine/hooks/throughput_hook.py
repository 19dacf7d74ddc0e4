"""Images per second, and the fraction of time spent waiting for data."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.batch import batch_and_rate, effective_batch
from mmdino.engine.model_access import bare_model
from mmdino.registry import HOOKS
from mmdino.utils.numbers import require_number


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Logs images/s over all ranks and the fraction of time spent waiting for data.

    The process waits for data. Where it works ahead of a GPU, that may still compute meanwhile; the
    fraction is near 0 as long as the loader keeps up.

    At the start it logs the effective batch, the resulting peak learning rate and what the method
    has to say of such a batch (``batch_advice``), and once, if the network waits for the loader,
    what to do about it.

    Args:
        window: Number of iterations that the metrics are averaged over.
        advise_above: Fraction of waiting above which advice is given.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> default_hooks = dict(throughput=dict(type="mmdino.ThroughputHook"))
    """

    def __init__(self, window: int = 50, advise_above: float = 0.2) -> None:
        require_number("ThroughputHook", "window", window, least=1, whole=True)
        require_number("ThroughputHook", "advise_above", advise_above, least=0, most=1)
        self.window = window
        self.advise_above = advise_above
        self._advised = False

    def before_train(self, runner: Runner) -> None:
        """Prints the effective batch and the peak learning rate."""
        runner.logger.info(batch_and_rate(runner))
        advise = getattr(bare_model(runner), "batch_advice", None)
        if advise is not None and (advice := advise(effective_batch(runner))):
            runner.logger.warning(advice)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Logs the metrics of the iteration."""
        hub = runner.message_hub
        times, waits = (
            hub.get_scalar(f"train/{name}").data[0][-self.window :]
            for name in ("time", "data_time")
        )
        seconds, waiting = times.mean(), waits.sum() / times.sum()
        images = runner.train_dataloader.batch_size * get_world_size()
        hub.update_scalar("train/images_per_s", images / seconds)
        hub.update_scalar("train/data_fraction", waiting)
        if waiting > self.advise_above and runner.iter + 1 >= self.window and not self._advised:
            self._advised = True
            runner.logger.warning(
                f"{waiting:.0%} of the time is spent waiting for data. Raise "
                "train_dataloader.num_workers (one a core is a start), store the images smaller "
                "(500 pixels on the short side is enough), or put them on a faster disk."
            )

"""The report of a run, while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import BaseOptimWrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmdino.engine.hooks.training_figure_hook import first_views
from mmdino.engine.model_access import bare_model
from mmdino.registry import HOOKS
from mmdino.utils.numbers import require_number

# What writes the report reads what hooks log; it is imported in the functions.
if TYPE_CHECKING:
    from mmdino.report.page import Pictures
    from mmdino.report.pictures import Images
    from mmdino.report.work_dir import Run, State

VIEWED = 4
NO_VALIDATION = (
    "Maps or neighbours: the run has no validation. mmdino report WORK_DIR --images FOLDER takes "
    "images from there."
)


@HOOKS.register_module()
class ReportHook(Hook):
    """Writes ``report.html`` into the work dir after validations and after training.

    The report is that of ``tools/report.py``: curves, views, neighbours, attention and principal
    components of some images of the validation, warnings, config, versions and commands. What the
    network sees in these images is kept in ``report_maps.npz``, for the report to show how it
    changes; a resumed run goes on with it. The network is that of the newest checkpoint in the work
    dir, so that validations between two checkpoints add nothing. All is done in the main process.

    Args:
        num_images: Number of images with maps and neighbours; 0 for a report without.
        pool: Images of the validation among which neighbours are looked for.
        num_neighbours: Number of neighbours of an image.
        interval: Validations from one report to the next, counted from the start of the run, also
            where it was resumed. A report of a small network takes about a second of a
            processor, of a larger one as long as ``pool`` images take.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> default_hooks = dict(report=dict(type="mmdino.ReportHook"))
    """

    # After the training figure's hook, whose curves the report shows.
    priority = "LOWEST"

    def __init__(
        self, num_images: int = 6, pool: int = 100, num_neighbours: int = 6, interval: int = 1
    ) -> None:
        require_number("ReportHook", "num_images", num_images, least=0, whole=True)
        require_number("ReportHook", "pool", pool, least=2, whole=True)
        require_number("ReportHook", "num_neighbours", num_neighbours, least=1, whole=True)
        require_number("ReportHook", "interval", interval, least=1, whole=True)
        self.num_images = num_images
        self.pool = pool
        self.num_neighbours = num_neighbours
        self.interval = interval
        self._views: list[list[np.ndarray]] = []
        self._images: Images | None = None
        self._last: tuple[int, Pictures] | None = None

    def before_train(self, runner: Runner) -> None:
        """Removes what another run has left in the work dir."""
        from mmdino.report.history import HISTORY

        self._last = None
        if is_main_process() and not runner.iter:
            (Path(runner.work_dir) / HISTORY).unlink(missing_ok=True)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Keeps the views of the first batch, before the model may change them in place."""
        if not self._views and is_main_process():
            self._views = first_views(data_batch["inputs"], VIEWED, _is_bgr(runner))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Writes the report, except for a validation outside of training."""
        if not isinstance(runner.optim_wrapper, BaseOptimWrapper):
            return
        # After the last one the report is written with the end of the run.
        if not _validations(runner) % self.interval and runner.iter < runner.max_iters:
            self._write(runner, "running")

    def after_train(self, runner: Runner) -> None:
        """Writes the report and logs its path."""
        if path := self._write(runner, "finished"):
            runner.logger.info(f"Report: {path}")

    def _write(self, runner: Runner, state: State) -> Path | None:
        """Writes the report and returns its path; None if there is none."""
        from mmdino.report import REPORT, read_run, write_report

        if not is_main_process():
            return None
        path = Path(runner.work_dir) / REPORT
        try:
            run = read_run(path.parent, state)
            write_report(run, self._pictures(runner, run), path)
        except (OSError, ValueError) as error:
            # Not worth losing days of training for.
            runner.logger.warning(f"The report could not be written: {error} Training continues.")
            return None
        return path

    def _pictures(self, runner: Runner, run: Run) -> Pictures:
        from mmdino.report.page import Pictures

        if runner.val_loop is None and self.num_images:
            return Pictures(views=self._views, missing=[NO_VALIDATION])
        if not self.num_images or not run.checkpoints:
            return Pictures(views=self._views)
        newest = run.checkpoints[-1].iteration
        if self._last is None or self._last[0] != newest:
            self._last = newest, self._look(runner, run)
        return self._last[1]

    def _look(self, runner: Runner, run: Run) -> Pictures:
        """Makes the pictures of the newest checkpoint and adds its maps to the kept ones."""
        from mmdino.report import pictures
        from mmdino.report.history import continued, read_history, write_history
        from mmdino.report.page import Pictures

        try:
            if self._images is None:
                dataset = runner.val_loop.dataloader.dataset
                self._images = pictures.images_of(dataset, self.pool, _is_bgr(runner))
            device = next(bare_model(runner).parameters()).device
            mapped, maps = read_history(run.folder) or (self._images.first(self.num_images), [])
            maps = continued(maps, run, mapped, device)
            write_history(run.folder, mapped, maps)
            found = pictures.neighbours_of_run(
                run, self._images, self.num_images, self.num_neighbours, device
            )
            return Pictures(
                views=self._views,
                mapped=mapped,
                maps=maps,
                images=self._images,
                neighbours=list(found),
            )
        except ValueError as error:
            return Pictures(views=self._views, missing=[f"Maps or neighbours: {error}"])


def _validations(runner: Runner) -> int:
    """Returns the number of validations of the run, of which resumed ones go on counting."""
    loop = runner.train_loop
    done = runner.epoch if isinstance(loop, EpochBasedTrainLoop) else runner.iter
    return done // loop.val_interval


def _is_bgr(runner: Runner) -> bool:
    return getattr(bare_model(runner).data_preprocessor, "bgr_to_rgb", True)

"""Some steps of a shipped demo with its hooks, one of which is observed at a time."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.runner import Runner

from mmdino.engine.status import status_of
from mmdino.shipped import config_path

LOG_INTERVAL = 3


def train_steps(name, work_dir, observed, iterations=6, **wrapper):
    """Trains; each iteration, and what a terminal is shown after it, runs in ``observed()``.

    Args:
        name: Name of a demo.
        work_dir: Folder of the run.
        observed: Function that returns a context manager.
        iterations: Number of iterations.
        **wrapper: Changes of the optimiser wrapper.
    """
    cfg = Config.fromfile(config_path(name))
    cfg.train_dataloader |= {"batch_size": 2, "num_workers": 0, "persistent_workers": False}
    cfg.train_dataloader.dataset.num_images = 2 * iterations
    cfg.optim_wrapper |= wrapper
    cfg.train_cfg |= {"max_epochs": 1, "val_at_start": False}
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    hooks = {key: hook for key, hook in cfg.default_hooks.items() if hook is not None}
    # It draws after 1, 2, 4 and so on iterations, and reads the curves for that.
    del hooks["training_figure"]
    hooks["logger"]["interval"] = LOG_INTERVAL
    hooks["collapse_monitor"]["interval"] = 2
    if "gram_anchor" in hooks:
        hooks["gram_anchor"] |= {"start": 1, "first_refresh": 1, "warmup": 2}
    cfg.default_hooks = hooks
    cfg.update(work_dir=str(work_dir), log_level="ERROR", experiment_name=work_dir.name)
    runner = Runner.from_cfg(cfg)
    loop = runner._train_loop = runner.build_train_loop(runner._train_loop)
    run_iter = loop.run_iter

    def run_observed(index, batch):
        with observed():
            run_iter(index, batch)
            status_of(runner)

    loop.run_iter = run_observed
    runner.train()
    return runner

"""The methods that are compared: configs with changes, checked before anything is trained."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmdino.schedules import step_of
from mmdino.utils.command_line import load_config
from mmdino.utils.options_action import OptionsAction

NEEDS = ("model", "train_dataloader", "train_cfg", "optim_wrapper")
OWN_LOOP, OWN_VALIDATION = "ResumableTrainLoop", "KNNValLoop"


@dataclass(frozen=True)
class Method:
    """One of the methods that are compared: a config with changes.

    Attributes:
        name: Name in tables and figures, and of its folder.
        config: Path of the config.
        options: Changes, as KEY=VALUE.
        cfg: The config with the changes.
        epochs: Epochs that it trains for.
        iterations_per_epoch: Micro-batches of an epoch.
        images_per_epoch: Images of an epoch.
    """

    name: str
    config: str
    options: tuple[str, ...]
    cfg: Config
    epochs: int
    iterations_per_epoch: int
    images_per_epoch: int

    @property
    def iterations(self) -> int:
        """Micro-batches of the whole run."""
        return self.epochs * self.iterations_per_epoch

    @property
    def images(self) -> int:
        """Images seen in the whole run."""
        return self.epochs * self.images_per_epoch

    @property
    def optimizer_steps(self) -> int:
        """Optimiser steps of the whole run."""
        counts = self.cfg.optim_wrapper.get("accumulative_counts", 1)
        epoch = self.iterations_per_epoch if _is(self.cfg.train_cfg, OWN_LOOP) else None
        return step_of(self.iterations - 1, counts, epoch) + 1

    def images_at(self, iteration: int) -> int:
        """Returns the images seen after so many micro-batches."""
        epochs, rest = divmod(iteration, self.iterations_per_epoch)
        batch = math.ceil(self.images_per_epoch / self.iterations_per_epoch)
        return epochs * self.images_per_epoch + rest * batch


def load_method(
    name: str, config: str, options: Sequence[str], folder: Path, epochs: int | None = None
) -> Method:
    """Reads and checks the config of a method, and counts its images.

    The arguments are those of :func:`load_methods`, whose errors it raises.
    """
    if epochs is not None:
        options = (*options, f"train_cfg.max_epochs={epochs}")
    args = argparse.Namespace(
        config=config,
        cfg_options=parse_options(options, name),
        work_dir=str(folder / name),
        launcher="none",
    )
    try:
        cfg = load_config(args, NEEDS)
        _check_validation(cfg, config)
        iterations, images = epoch_size(cfg)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"{name}: {error}") from error
    return Method(name, config, tuple(options), cfg, cfg.train_cfg.max_epochs, iterations, images)


def with_epochs(method: Method, epochs: int, folder: Path) -> Method:
    """Returns a method that trains for another number of epochs; its config is checked again."""
    if epochs == method.epochs:
        return method
    return load_method(method.name, method.config, method.options, folder, epochs)


def parse_options(options: Sequence[str], name: str) -> dict[str, Any] | None:
    """Reads KEY=VALUE as ``--cfg-options`` of the other tools do.

    Args:
        options: The texts.
        name: Name of the method, for messages.

    Raises:
        ValueError: If one is not of that form.
    """
    if not options:
        return None
    parser = _RaisingParser()
    found = argparse.Namespace()
    OptionsAction([], "options", nargs="+")(parser, found, list(options), f"the options of {name}:")
    return found.options


class _RaisingParser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        raise ValueError(message)


def epoch_size(cfg: Config) -> tuple[int, int]:
    """Returns micro-batches and images of an epoch, from the loader without its transforms."""
    init_default_scope(cfg.get("default_scope") or "mmengine")
    options = dict(cfg.train_dataloader.to_dict(), num_workers=0, persistent_workers=False)
    options.pop("prefetch_factor", None)
    loader = Runner.build_dataloader({**options, "dataset": untransformed(options["dataset"])})
    iterations = len(loader)
    images = len(loader.sampler)
    if loader.batch_size is None:
        raise ValueError("compare needs train_dataloader.batch_size, to count the images seen.")
    return iterations, min(images, iterations * loader.batch_size)


def untransformed(dataset: Any) -> Any:
    """Returns the config of a data set whose pipelines are empty."""
    if isinstance(dataset, Mapping):
        return {k: [] if k == "pipeline" else untransformed(v) for k, v in dataset.items()}
    if isinstance(dataset, (list, tuple)):
        return [untransformed(member) for member in dataset]
    return dataset


def _check_validation(cfg: Config, config: str) -> None:
    """Checks that a config is validated by k-NN within its run, and leaves a checkpoint."""
    loop = cfg.train_cfg
    if cfg.get("val_cfg") is None or not _is(cfg.val_cfg, OWN_VALIDATION):
        raise ValueError(
            f"{config} has no k-NN validation. Give it val_dataloader, val_cfg and val_evaluator "
            "with a labelled data set; configs/_base_/datasets/imagenet.py has some."
        )
    if "max_epochs" not in loop:
        raise ValueError(
            f"{config} has a loop of {loop.get('type')!r} without train_cfg.max_epochs: a "
            "comparison counts epochs. Take train_cfg=dict(type='mmdino.ResumableTrainLoop', "
            "max_epochs=...)."
        )
    interval, begin = loop.get("val_interval", 1), loop.get("val_begin", 1)
    # Ours validates after the last epoch too.
    last = begin if _is(loop, OWN_LOOP) else max(interval, begin)
    if last > loop.max_epochs:
        raise ValueError(
            f"{config} is not validated within {loop.max_epochs} epochs: train_cfg.val_interval is "
            f"{interval}, val_begin {begin}. Lower them, or train for longer."
        )
    if (cfg.get("default_hooks") or {}).get("checkpoint", {}) is None:
        raise ValueError(
            f"{config} writes no checkpoint (default_hooks.checkpoint=None), which a comparison "
            "resumes from and measures."
        )


def _is(section: Mapping[str, Any], name: str) -> bool:
    return str(section.get("type")).rpartition(".")[2] == name

"""The plan of a comparison: which runs, how long, and whether they can be compared."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmdino.config_check.top_level import keys_of_runner, runner_class
from mmdino.schedules import step_of
from mmdino.utils.command_line import load_config
from mmdino.utils.config_options import OptionsAction
from mmdino.utils.numbers import require_number

NEEDS = ("model", "train_dataloader", "train_cfg", "optim_wrapper")
OWN_LOOP, OWN_VALIDATION = "ResumableTrainLoop", "KNNValLoop"
NAME = re.compile(r"\w[\w.+=-]*")
RESERVED = re.compile(r"(comparison|curves)\b.*")
"""Names of the files that a comparison writes beside the folders of its runs."""
COMPARED = (
    "val_dataloader.dataset",
    "val_cfg.bank_dataloader.dataset",
    "val_cfg.fp16",
    "val_evaluator",
)
"""What all configs must have in common for their k-NN accuracies to be comparable."""
NOT_OF_THE_RUN = {"work_dir", "launcher", "env_cfg", "log_level", "sync_bn", "experiment_name"}
"""Keys of a config that depend on the machine or the folder, or only change what is printed."""
MISSING = "nothing"
LONGEST_VALUE = 60


@dataclass(frozen=True)
class Budget:
    """How long every method trains; at most one is given, and none is each config's own length.

    Attributes:
        images: Images seen.
        epochs: Epochs.
        minutes: Minutes of processor time.
    """

    images: int | None = None
    epochs: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        if len(given) > 1:
            raise ValueError(
                f"The budget is given by {' and '.join(f'--{name}' for name in given)}: choose one."
            )
        for name in given:
            is_time = name == "minutes"
            bound = {"above": 0} if is_time else {"least": 1, "whole": True}
            require_number("compare", name, getattr(self, name), **bound)


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


@dataclass(frozen=True)
class Run:
    """A training run: a method with a seed.

    Attributes:
        method: The method.
        seed: The seed.
        folder: Its work dir.
    """

    method: Method
    seed: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.method.name}, seed {self.seed}"

    @property
    def options(self) -> list[str]:
        """All changes to the config, the seed included."""
        return [*self.method.options, f"randomness.seed={self.seed}"]

    @property
    def content(self) -> dict[str, Any]:
        """What decides its result: the config with its seed, as JSON keeps it."""
        cfg = self.method.cfg
        read = keys_of_runner(runner_class(cfg)) - NOT_OF_THE_RUN
        kept = {key: value for key, value in cfg.to_dict().items() if key in read}
        kept["randomness"] = {**(kept.get("randomness") or {}), "seed": self.seed}
        return json.loads(json.dumps(kept, default=str))


def load_methods(
    variants: Sequence[tuple[str, str, Sequence[str]]],
    shared: Sequence[str],
    folder: Path,
    epochs: int | None = None,
) -> list[Method]:
    """Reads and checks the configs of all methods.

    Args:
        variants: Name, path of the config and changes of each.
        shared: Changes to all configs; those of a variant come after them.
        folder: Folder of the comparison.
        epochs: Length of all runs; by default each config's own.

    Raises:
        FileNotFoundError: If a config does not exist.
        ValueError: If a name is no plain name or occurs twice, a config has mistakes, has no k-NN
            validation or does not count epochs, or two of them cannot be compared.
    """
    _check_names([name for name, _, _ in variants])
    methods = [
        load_method(name, config, (*shared, *options), folder, epochs)
        for name, config, options in variants
    ]
    require_same_validation(methods)
    return methods


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
    loader = Runner.build_dataloader({**options, "dataset": _untransformed(options["dataset"])})
    iterations = len(loader)
    images = len(loader.sampler)
    if loader.batch_size is None:
        raise ValueError("compare needs train_dataloader.batch_size, to count the images seen.")
    return iterations, min(images, iterations * loader.batch_size)


def _untransformed(dataset: Any) -> Any:
    """Returns the config of a data set whose pipelines are empty."""
    if isinstance(dataset, Mapping):
        return {k: [] if k == "pipeline" else _untransformed(v) for k, v in dataset.items()}
    if isinstance(dataset, (list, tuple)):
        return [_untransformed(member) for member in dataset]
    return dataset


def epochs_of_images(method: Method, images: int) -> tuple[int, str]:
    """Returns the epochs that are nearest to so many images, and a line if they do not divide.

    Raises:
        ValueError: If they are less than one epoch.
    """
    if images < method.images_per_epoch:
        raise ValueError(
            f"{method.name}: --images {images} is less than an epoch of "
            f"{method.images_per_epoch} images. Give at least that, since schedules and "
            "validations count epochs."
        )
    epochs = max(1, round(images / method.images_per_epoch))
    if epochs * method.images_per_epoch == images:
        return epochs, ""
    seen = epochs * method.images_per_epoch
    return epochs, (
        f"{method.name}: {images:,} images are {images / method.images_per_epoch:.2f} epochs of "
        f"{method.images_per_epoch:,}; it trains {epochs}, which are {seen:,} images."
    )


def make_runs(methods: Sequence[Method], seeds: Sequence[int], folder: Path) -> list[Run]:
    """Returns the runs of all methods and seeds: every method has one before any has two.

    Raises:
        ValueError: If a seed is negative or occurs twice.
    """
    for seed in seeds:
        require_number("compare", "seeds", seed, least=0, whole=True)
    if twice := sorted({seed for seed in seeds if list(seeds).count(seed) > 1}):
        raise ValueError(f"--seeds has {', '.join(map(str, twice))} more than once.")
    return [
        Run(method, seed, folder / method.name / f"seed_{seed}")
        for seed in seeds
        for method in methods
    ]


def require_same_validation(methods: Sequence[Method]) -> None:
    """Checks that all methods are validated on the same images in the same way.

    Raises:
        ValueError: If they are not, with what differs.
    """
    first, *others = methods
    for other in others:
        differing = differences(_validation(first), _validation(other))
        if differing:
            raise ValueError(
                f"{first.name} and {other.name} are not validated in the same way, so their k-NN "
                f"accuracies cannot be compared: {_worded(differing, first.name, other.name)}. "
                "Give both the same with --cfg-options."
            )


def training_data_notes(methods: Sequence[Method]) -> list[str]:
    """Returns a line for each method that does not train on the images of the first."""
    first, *others = methods
    notes = []
    for other in others:
        data = [_untransformed(m.cfg.train_dataloader.to_dict()["dataset"]) for m in (first, other)]
        if differing := differences(*data, "train_dataloader.dataset"):
            notes.append(
                f"{first.name} and {other.name} do not train on the same images: "
                f"{_worded(differing, first.name, other.name)}."
            )
    return notes


def differences(first: Any, second: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Returns where two nested configs differ: path, and the value of each.

    What one of them lacks counts as "nothing".
    """
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        found = []
        for key in sorted({*first, *second}, key=str):
            values = (first.get(key, MISSING), second.get(key, MISSING))
            found += differences(*values, f"{path}.{key}".lstrip("."))
        return found
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        if len(first) == len(second):
            pairs = enumerate(zip(first, second, strict=True))
            return [row for i, pair in pairs for row in differences(*pair, f"{path}.{i}")]
        return [(path, first, second)]
    return [] if first == second else [(path, first, second)]


def _worded(found: Sequence[tuple[str, Any, Any]], first: str, second: str) -> str:
    """Returns up to three differences in words."""
    parts = [f"{path} is {_short(a)} in {first}, {_short(b)} in {second}" for path, a, b in found]
    more = f"; and {len(parts) - 3} more" if len(parts) > 3 else ""
    return "; ".join(parts[:3]) + more


def changed(stored: Mapping[str, Any], run: Run) -> str:
    """Returns what differs between a stored plan of a run and the present one, in words."""
    return _worded(differences(stored, run.content), "the folder", "this command")


def _short(value: Any) -> str:
    text = value if value is MISSING else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} ..."


def _validation(method: Method) -> dict[str, Any]:
    cfg = method.cfg.to_dict()
    found = {}
    for path in COMPARED:
        value: Any = cfg
        for key in path.split("."):
            value = value.get(key, False if key == "fp16" else MISSING)
        found[path] = value
    return found


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ValueError(
            "There is nothing to compare: name configs, or add --run NAME CONFIG [KEY=VALUE ...]."
        )
    for name in names:
        if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
            raise ValueError(
                f"The run's name {name!r} cannot be used: it names a folder, so take letters, "
                "digits and . _ + = -, and none that begins with 'comparison' or 'curves'."
            )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"Two runs have the name {', '.join(map(repr, twice))}. Give each its own: "
            "--run NAME CONFIG [KEY=VALUE ...]."
        )


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


def has_own_loop(method: Method) -> bool:
    """Whether a method trains in mmdino's loop, which can validate at the start."""
    return _is(method.cfg.train_cfg, OWN_LOOP)


def apply_budget(
    methods: Sequence[Method],
    budget: Budget,
    folder: Path,
    epochs_in_time: Callable[[Method], tuple[int, str]],
) -> tuple[list[Method], list[str]]:
    """Gives all methods the length of a budget.

    Args:
        methods: The methods, with ``budget.epochs`` applied if that is given.
        budget: The budget.
        folder: Folder of the comparison.
        epochs_in_time: Returns the epochs of a method within ``budget.minutes``, and a line.

    Returns:
        The methods, and lines to print.

    Raises:
        ValueError: If a budget is below an epoch or the warm-ups of a config.
    """
    chosen, lines = [], []
    for method in methods:
        epochs, line = method.epochs, ""
        if budget.images is not None:
            epochs, line = epochs_of_images(method, budget.images)
        elif budget.minutes is not None:
            epochs, line = epochs_in_time(method)
        chosen.append(with_epochs(method, epochs, folder))
        lines += [line] if line else []
    return chosen, lines

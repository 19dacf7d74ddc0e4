"""The plan of a comparison: which runs, and how long."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdino.comparison.comparable import differences, in_words, require_same_validation
from mmdino.comparison.methods import Method, load_method, with_epochs
from mmdino.config_check.top_level import keys_of_runner, runner_class
from mmdino.utils.numbers import require_number

NAME = re.compile(r"\w[\w.+=-]*")
RESERVED = re.compile(r"(comparison|curves)\b.*")
"""Names of the files that a comparison writes beside the folders of its runs."""
NOT_OF_THE_RUN = {"work_dir", "launcher", "env_cfg", "log_level", "sync_bn", "experiment_name"}
"""Keys of a config that depend on the machine or the folder, or only change what is printed."""


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


def changed(stored: Mapping[str, Any], run: Run) -> str:
    """Returns what differs between a stored plan of a run and the present one, in words."""
    return in_words(differences(stored, run.content), "the folder", "this command")

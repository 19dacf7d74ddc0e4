"""From a folder of images to a config that is ready to train."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmdino.folder_recipe.config_file import config_path_in, knn_split, write_config
from mmdino.folder_recipe.images import classes_of, look_at_folder
from mmdino.folder_recipe.machine import this_machine
from mmdino.folder_recipe.rate import Rate, measure_rate
from mmdino.folder_recipe.recipe import Recipe, choose
from mmdino.utils.command_line import load_config, require_writable
from mmdino.utils.folder_lock import lock_folder
from mmdino.utils.printable import printable

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
VALIDATIONS = 10
"""Passes of k-NN in a run: before it, and about every eighth of it."""


@dataclass(frozen=True)
class Wish:
    """What a user may ask for; None for what suits the images and the machine.

    Attributes:
        size: "tiny", "small" or "base".
        epochs: Length of the run.
        time: Length of the run as a text such as "30m", in place of epochs.

    Raises:
        ValueError: If both lengths are given, or one is out of range.
    """

    size: str | None = None
    epochs: int | None = None
    time: str | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.time is not None:
            raise ValueError(
                f"Both epochs ({self.epochs}) and time ({self.time!r}) were given: leave out one."
            )
        if self.epochs is not None and self.epochs < 1:
            raise ValueError(f"invalid number of epochs {self.epochs}: expected at least 1.")
        if self.time is not None:
            seconds_of(self.time)


def seconds_of(text: str) -> float:
    """Returns the seconds that a text such as "30m" or "1h30m" means.

    Raises:
        ValueError: If it has no unit, is none, or is 0.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(map("".join, parts)) != text:
        example = f" {text}m is minutes, {text}h hours." if re.fullmatch(r"[\d.]+", text) else ""
        raise ValueError(
            f"invalid time {text!r}: expected a number with a unit, s, m, h or d, such as 30m or "
            f"1h30m.{example}"
        )
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    if seconds == 0:
        raise ValueError(f"invalid time {text!r}: expected more than 0.")
    return seconds


def default_work_dir(data: str | Path) -> str:
    """Returns the work dir of a run on a folder: its name below ``work_dirs``."""
    return f"work_dirs/dino_{Path(data).resolve().name or 'images'}"


def prepare(
    data: str | Path,
    work_dir: str | Path,
    wish: Wish,
    cfg_options: dict | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Looks at a folder and the machine, chooses a recipe, times it, and writes it as a config.

    Args:
        data: The folder.
        work_dir: Output folder of the run, which gets the config.
        wish: What was asked for.
        cfg_options: Changes to the config that the run will have.
        say: Prints a line.

    Returns:
        The path of the config.

    Raises:
        FileNotFoundError: If the folder is missing or contains no images.
        OSError: If it cannot be read.
        ValueError: If no image can be read, there are too few, the work dir has a config already
            or lies in the folder, or the time does not suffice for an epoch.
    """
    require_new(data, work_dir)
    require_writable(work_dir)
    folder, machine = look_at_folder(data), this_machine()
    say(folder.describe())
    say(machine.describe())
    about = f"{folder.describe()}\n{machine.describe()}"
    classes = classes_of(folder.names)
    split = knn_split(classes) if classes else None
    lock_folder(work_dir)

    def write(recipe: Recipe) -> Path:
        return write_config(recipe, about, folder.root, work_dir, split)

    recipe = choose(folder, machine, wish.size, wish.epochs, has_classes=bool(classes))
    path = write(recipe)
    try:
        rate = timed(path, cfg_options)
        if wish.time is not None:
            epochs = epochs_in(seconds_of(wish.time), rate, recipe.steps_an_epoch, wish.time)
            recipe = choose(folder, machine, wish.size, epochs, has_classes=bool(classes))
            write(recipe)
    except BaseException:
        # A second try must not find a config that was never announced.
        path.unlink()
        raise
    for line in (*recipe.notes, summary(recipe, rate, path)):
        say(line)
    return path


def require_new(data: str | Path, work_dir: str | Path) -> None:
    """Checks that a work dir has no recipe yet, and does not lie among the images.

    Raises:
        ValueError: If it has, or does.
    """
    path, folder = config_path_in(work_dir), Path(data).resolve()
    if path.exists():
        raise ValueError(
            f"{printable(work_dir)!r} has a recipe already, {printable(path)!r}. To go on with its "
            f"run: mmdino train {printable(path)} --resume (without --resume it starts anew). For "
            "another run name another folder with --work-dir."
        )
    if folder in (resolved := Path(work_dir).resolve()).parents or folder == resolved:
        raise ValueError(
            f"The work dir {printable(work_dir)!r} lies in the folder of images, "
            f"{printable(folder)!r}. Choose another with --work-dir."
        )


def timed(path: Path, cfg_options: dict | None) -> Rate:
    """Times a config with changes, checked as a run does."""
    options = argparse.Namespace(
        config=str(path), launcher="none", cfg_options=cfg_options, work_dir=None
    )
    return measure_rate(load_config(options))


def epochs_in(seconds: float, rate: Rate, steps_an_epoch: int, asked: str) -> int:
    """Returns the number of epochs that fit into a time.

    Raises:
        ValueError: If not even one does.
    """
    epoch = rate.step * steps_an_epoch
    needed = epoch + 2 * rate.validation
    if seconds < needed:
        raise ValueError(
            f"--time {asked} is not enough: an epoch takes {duration(needed)} here, at "
            f"{rate.step:.2g} s a step of {steps_an_epoch}. Give more time, a smaller network "
            "(--size tiny), or a folder with fewer images."
        )
    return max(1, math.floor((seconds - VALIDATIONS * rate.validation) / epoch))


def summary(recipe: Recipe, rate: Rate, path: Path) -> str:
    """Returns what the run will be in two lines."""
    seconds = recipe.steps * rate.step
    if rate.validation:
        seconds += rate.validation * (1 + recipe["max_epochs"] // recipe["interval"])
    batch = recipe["batch_size"] * recipe["accumulative_counts"]
    lr = recipe["lr"] * batch / 256
    return (
        f"The recipe is {printable(path)}: a reason beside each choice; change what you like.\n"
        f"Batch {batch}, learning rate {lr:.2g}, {recipe['max_epochs']} epochs of "
        f"{recipe.steps_an_epoch} batches: about {duration(seconds)} at {rate.step:.2g} s a batch "
        f"(measured over {rate.steps})."
    )


def duration(seconds: float) -> str:
    """Returns a time in words, such as "1 h 20 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.1f} days"

"""From a folder of images to a config that is ready to train."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmdino.datasets.readers.reading import Reading
from mmdino.engine.checkpoints import newest_checkpoint
from mmdino.folder_recipe.config_file import config_path_in, knn_split, write_config
from mmdino.folder_recipe.images import classes_of, look_at_images
from mmdino.folder_recipe.machine import this_machine
from mmdino.folder_recipe.rate import Rate, measure_rate
from mmdino.folder_recipe.recipe import Recipe, choose
from mmdino.utils.command_line import load_config, require_writable
from mmdino.utils.folder_lock import lock_folder
from mmdino.utils.numbers import require_number
from mmdino.utils.printable import printable
from mmdino.utils.progress import duration

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
        TypeError: If a length is of the wrong type.
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
        if self.epochs is not None:
            require_number("pretraining on a folder", "epochs", self.epochs, least=1, whole=True)
        if self.time is not None:
            seconds_of(self.time)


def seconds_of(text: str) -> float:
    """Returns the seconds that a text such as "30m" or "1h30m" means.

    Raises:
        TypeError: If it is no text.
        ValueError: If it has no unit, is none, or is 0.
    """
    if not isinstance(text, str):
        raise TypeError(f"invalid time {text!r}: expected a text with a unit, such as '30m'.")
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
    """Returns the work dir of a run on images: their name below ``work_dirs``."""
    path = Path(data).resolve()
    # Of a list or a pattern of shards, what comes before suffix and wildcards.
    name = path.name if path.is_dir() else re.split(r"[^\w-]", path.name)[0].strip("-")
    return f"work_dirs/dino_{name or 'images'}"


def prepare(
    data: str | Path,
    work_dir: str | Path,
    wish: Wish,
    cfg_options: dict | None = None,
    say: Callable[[str], None] = print,
    reading: Reading | None = None,
) -> Path:
    """Looks at images and the machine, chooses a recipe, times it, and writes it as a config.

    Args:
        data: The folder, list or shards.
        work_dir: Output folder of the run, which gets the config.
        wish: What was asked for.
        cfg_options: Changes to the config that the run will have.
        say: Prints a line.
        reading: How the images are read; None for usual ones.

    Returns:
        The path of the config.

    Raises:
        FileNotFoundError: If ``data`` or a listed image is missing, or there is no image.
        OSError: If it cannot be read.
        TypeError: If the function that reads the images has no such argument, or images do not fit.
        ValueError: If no image can be read, there are too few, a list or shard is invalid, the work
            dir has a config already or lies in the folder, or the time does not suffice for an
            epoch.
    """
    for kind, path in {"folder of images": data, "work dir": work_dir}.items():
        if not str(path).strip():
            raise ValueError(f"The name of the {kind} is empty: {str(path)!r}.")
    require_new(data, work_dir)
    require_writable(work_dir)
    folder, machine = look_at_images(data, reading), this_machine()
    say(folder.describe())
    say(machine.describe())
    about = f"{folder.describe()}\n{machine.describe()}"
    classes = classes_of(folder.usable)
    split = knn_split(classes) if classes else None
    recipe = choose(folder, machine, wish.size, wish.epochs, has_classes=bool(classes))
    lock_folder(work_dir)

    def write(recipe: Recipe) -> Path:
        reader = None if reading is None else reading.reader
        return write_config(recipe, about, folder.root, work_dir, split, folder.source, reader)

    path = write(recipe)
    try:
        cfg = read_recipe(path, cfg_options)
        rate = measure_rate(cfg)
        epochs = wish.epochs
        if wish.time is not None:
            epochs = epochs_in(seconds_of(wish.time), rate, wish.time)
        recipe = choose(folder, machine, wish.size, epochs, bool(classes), rate)
        write(recipe)
        cfg = read_recipe(path, cfg_options)
    except BaseException:
        # A second try must not find a config that was never announced.
        path.unlink()
        raise
    for line in (*recipe.notes, summary(cfg, rate, path)):
        say(line)
    return path


def require_new(data: str | Path, work_dir: str | Path) -> None:
    """Checks that a work dir has no recipe yet, and does not lie among the images.

    Raises:
        ValueError: If it has, or does.
    """
    path, folder = config_path_in(work_dir), Path(data).resolve()
    if path.exists():
        if newest_checkpoint(work_dir).found is None:
            advice = (
                f"Its run has no checkpoint yet. To start it: mmdino train {printable(path)}. For "
                "another recipe remove this one, or name another folder with --work-dir."
            )
        else:
            advice = (
                f"To go on with its run: mmdino train {printable(path)} --resume (without --resume "
                "it starts anew). For another run name another folder with --work-dir."
            )
        raise ValueError(
            f"{printable(work_dir)!r} has a recipe already, {printable(path)!r}. {advice}"
        )
    if folder in (resolved := Path(work_dir).resolve()).parents or folder == resolved:
        raise ValueError(
            f"The work dir {printable(work_dir)!r} lies in the folder of images, "
            f"{printable(folder)!r}. Choose another with --work-dir."
        )


def read_recipe(path: Path, cfg_options: dict | None) -> Config:
    """Returns a config with changes, checked as for a run."""
    return load_config(
        argparse.Namespace(
            config=str(path), launcher="none", cfg_options=cfg_options, work_dir=None
        )
    )


def epochs_in(seconds: float, rate: Rate, asked: str) -> int:
    """Returns the number of epochs that fit into a time.

    Raises:
        ValueError: If not even one does.
    """
    epoch = rate.step * rate.batches
    needed = epoch + 2 * rate.validation
    if seconds < needed:
        raise ValueError(
            f"--time {asked} is not enough: an epoch takes {duration(needed)} here, at "
            f"{rate.step:.2g} s for each of {rate.batches} batches. Give more time, a smaller "
            "network (--size tiny), or a folder with fewer images."
        )
    return max(1, math.floor((seconds - VALIDATIONS * rate.validation) / epoch))


def summary(cfg: Config, rate: Rate, path: Path) -> str:
    """Returns in two lines what the run will be."""
    epochs = cfg.train_cfg.max_epochs
    validations = 1 + epochs // cfg.train_cfg.val_interval
    seconds = epochs * rate.batches * rate.step + validations * rate.validation
    batch = cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts
    lr = cfg.optim_wrapper.optimizer.lr * batch / cfg.auto_scale_lr.base_batch_size
    return (
        f"The recipe is {printable(path)}: a reason beside each choice; change what you like.\n"
        f"Batch {batch}, learning rate {lr:.2g}, {epochs} epoch(s) of {rate.batches} batches: "
        f"about {duration(seconds)} at {rate.step:.2g} s a batch (measured over {rate.steps})."
    )

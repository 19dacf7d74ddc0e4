"""Pretraining on a folder in one call."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mmdino.datasets.readers.reading import reading_from
from mmdino.engine.checkpoints import checkpoint_to_resume, newest_checkpoint
from mmdino.engine.training import train
from mmdino.folder_recipe.prepare import Wish, prepare, read_recipe
from mmdino.report import REPORT
from mmdino.utils.folder_lock import unlock_folder
from mmdino.utils.printable import printable


def next_commands(data: str | Path, work_dir: str | Path) -> str:
    """Returns the commands that look at what a run on a folder has learnt; empty if it has not.

    Args:
        data: What was trained on.
        work_dir: The work dir.
    """
    newest = newest_checkpoint(work_dir).found
    if newest is None:
        return ""
    checkpoint, images, out = (
        shlex.quote(printable(path)) for path in (newest.path, data, work_dir)
    )
    report = Path(work_dir, REPORT)
    written = f"{printable(report)} in a browser" if report.is_file() else f"mmdino report {out}"
    return (
        "Look at it:\n"
        f"  {written}\n"
        f"  mmdino embed {checkpoint} {images} features.npz\n"
        "  mmdino search features.npz SOME_IMAGE --figure found.jpg"
    )


def pretrain(
    data: str | Path,
    out: str | Path,
    *,
    time: str | None = None,
    epochs: int | None = None,
    size: Literal["tiny", "small", "base"] | None = None,
    reader: str | Mapping[str, Any] | None = None,
    extensions: Sequence[str] | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Path:
    """Pretrains a backbone with DINO on a folder of images, as ``mmdino train --data`` does.

    Looks at the images and the machine, chooses a recipe, writes it with a reason for each choice
    as ``OUT/recipe/pretrain.py``, prints what it expects, and trains.

    Args:
        data: Folder of images, at any depth, without labels; or a list of their paths relative to
            its own folder (text, CSV, Parquet), or tar shards.
        out: Output folder, for config, log, checkpoints and figure. It must have no recipe yet.
        time: Length of the run, such as "30m" or "1h30m".
        epochs: Length of the run, in place of ``time``; by default what suits images and machine.
        size: Size of the network; by default "small" on an accelerator, else "tiny".
        reader: Function that reads the images, as :class:`~mmdino.datasets.LoadImage` takes it:
            ``"mmdino.read_tiff"``, a dict of ``type`` and arguments, or one of your own that is
            registered. Any number of channels.
        extensions: Extensions of its files, such as ``[".dcm"]``.
        cfg_options: Changes to the config, by the path of the key, such as
            ``{"train_dataloader.num_workers": 2}``.

    Returns:
        The last checkpoint, for :func:`mmdino.load_backbone` and the tools.

    Raises:
        FileNotFoundError: If ``data`` or a listed image is missing, or there is no image.
        TypeError: If the reader has no such argument, or images do not fit it.
        ValueError: If no image can be read, there are too few, an argument is out of range, or
            ``out`` has a recipe already or lies in ``data``.

    Example:
        >>> checkpoint = mmdino.pretrain(data="my_images", out="work_dirs/mine", time="30m")
    """
    options = dict(cfg_options) if cfg_options else None
    reading = reading_from(reader, extensions)
    try:
        config = prepare(data, out, Wish(size, epochs, time), options, reading=reading)
        train(read_recipe(config, options))
    finally:
        unlock_folder(out)
    return checkpoint_to_resume(out).found.path

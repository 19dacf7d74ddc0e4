"""Maps of the same images over a whole run, kept in its work dir as the network changes."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mmdino.report.pictures import Images, Maps, map_network, maps_of
from mmdino.report.work_dir import Run
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.printable import printable
from mmdino.weights.networks import untrained_like

HISTORY = "report_maps.npz"
"""Name of the file in a work dir."""
MAX_TIMES = 8
"""Times that are kept."""


def read_history(folder: Path) -> tuple[Images, list[Maps]] | None:
    """Reads the images and their maps in order of time; None if there is no such file.

    Raises:
        ValueError: If it is damaged.
    """
    path = folder / HISTORY
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [str(name) for name in file["names"]]
            pixels = [file[f"image_{index}"] for index in range(len(names))]
            keys = [f"levels_{index}" for index in range(len(names))]
            levels = [file[key] for key in keys if key in file]  # of colour images none
            maps = [
                Maps(int(iteration), *(_column(file, kind, iteration, len(names)) for kind in "ac"))
                for iteration in file["iterations"]
            ]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{printable(path)} is damaged ({error}). Remove it: the report then shows the "
            "checkpoints that are there."
        ) from error
    return Images(pixels, names, (), "", levels), maps


def write_history(folder: Path, images: Images, maps: Sequence[Maps]) -> None:
    """Writes images and their maps, atomically.

    Args:
        folder: The work dir.
        images: The images.
        maps: Their maps, in order of time.
    """
    arrays = {
        "names": np.array(images.names, dtype=str),
        "iterations": np.array([each.iteration for each in maps]),
    }
    arrays |= {f"image_{index}": pixels for index, pixels in enumerate(images.pixels)}
    arrays |= {f"levels_{index}": levels for index, levels in enumerate(images.levels)}
    for each in maps:
        for kind, column in (("a", each.attention), ("c", each.components)):
            for index, picture in enumerate(column):
                arrays[f"{kind}_{each.iteration}_{index}"] = picture
    with atomic_write(folder / HISTORY) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def continued(
    history: Sequence[Maps], run: Run, images: Images, device: torch.device
) -> list[Maps]:
    """Adds the maps of a run's newest checkpoint; at first those of an untrained network too.

    Args:
        history: Maps of earlier iterations.
        run: The run, with one checkpoint at least.
        images: The images.
        device: Device to compute on.

    Raises:
        ValueError: If the network does not take such images, or its features are not finite.
    """
    newest = run.checkpoints[-1]
    backbone, statistics = map_network(newest)
    backbone.to(device)
    earlier = history or [maps_of(untrained_like(backbone), images.inputs, 0, statistics)]
    return with_maps(earlier, maps_of(backbone, images.inputs, newest.iteration, statistics))


def with_maps(history: Sequence[Maps], new: Maps) -> list[Maps]:
    """Adds maps to those of earlier iterations and leaves out some if there are too many.

    The first and the last are kept, and of the others those that are spread most evenly.
    """
    kept = [maps for maps in history if maps.iteration < new.iteration] + [new]
    while len(kept) > MAX_TIMES:
        gaps = [
            after.iteration - before.iteration
            for before, after in zip(kept[:-2], kept[2:], strict=True)
        ]
        del kept[1 + gaps.index(min(gaps))]
    return kept


def _column(file: np.lib.npyio.NpzFile, kind: str, iteration: int, count: int) -> list[np.ndarray]:
    names = [f"{kind}_{iteration}_{index}" for index in range(count)]
    # A network without attention has none.
    return [file[name] for name in names if name in file]

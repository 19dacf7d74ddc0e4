"""Loss surfaces of several classifiers, written down point by point."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.utils import ProgressBar
from torch import nn

from mmdino.diagnostics.classifiers import LossAndAccuracy, evaluate, losses_of
from mmdino.diagnostics.landscape import (
    fraction_near_minimum,
    has_batch_norm,
    moved,
    moved_parameters,
    random_direction,
    reestimate_batch_norm,
)
from mmdino.diagnostics.landscape_grid import Grid
from mmdino.diagnostics.record import read_record, write_record
from mmdino.evaluation.bank_extraction import network_sha256

RECORD = "landscape.json"
IDENTITY = {
    "sha256": "the weights",
    "data_preprocessor": "the options of the data preprocessor",
    "moved_sha256": "the trained parameters",
}
"""What the points of a network go by, as messages name it."""


@dataclass(frozen=True)
class Surface:
    """The losses and accuracies of a network; axes are first and second direction.

    Attributes:
        steps: Steps (K,) along a direction.
        plane: Loss and accuracy (2, K, K), or None.
        lines: Loss and accuracy (2, lines, K).
    """

    steps: np.ndarray
    plane: np.ndarray | None
    lines: np.ndarray

    def fractions(self, within: float) -> dict[str, Any]:
        """Returns the fractions of points with a loss near the smallest of their plane or line.

        That of a plane or line without a finite loss is None.
        """
        lines = [_fraction(line, within) for line in self.lines[0]]
        found: dict[str, Any] = {"within": within, "lines": lines}
        finite = [fraction for fraction in lines if fraction is not None]
        if finite:
            found["lines_mean"] = float(np.mean(finite))
            found["lines_deviation"] = float(np.std(finite))
        if self.plane is not None:
            found["plane"] = _fraction(self.plane[0], within)
        return found


def _fraction(losses: np.ndarray, within: float) -> float | None:
    if not np.isfinite(losses).any():
        return None
    return fraction_near_minimum(torch.from_numpy(losses), within)


class Landscape:
    """Loss surfaces in a folder; what is there is not computed again.

    Args:
        folder: Output folder; ``landscape.json`` is written after every point.
        grid: The points.
        data: What the losses depend on besides: hash and number of the images, and the loss.

    Raises:
        ValueError: If the folder has surfaces of other points, images or losses.
    """

    def __init__(self, folder: Path, grid: Grid, data: Mapping[str, Any]) -> None:
        self.grid = grid
        self.path = folder / RECORD
        setting = {**asdict(grid), **data}
        self._record = read_record(self.path) or {"setting": setting, "networks": {}}
        found = self._record.get("setting", {})
        changed = [name for name in setting if found.get(name) != setting[name]]
        if changed:
            was = ", ".join(f"{name}={found.get(name)!r}" for name in changed)
            now = ", ".join(f"{name}={setting[name]!r}" for name in changed)
            raise ValueError(
                f"{str(folder)!r} has landscapes with {was}; now it is {now}. Landscapes are only "
                "compared with equal points, images and loss: choose another folder with --out, or "
                "remove that one."
            )

    def missing(
        self, name: str, model: nn.Module, preprocessor: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Returns which points of a network are still to be computed.

        Points of another network under the same name are forgotten.

        Args:
            name: Its name.
            model: The classifier.
            preprocessor: Config of its data preprocessor.
        """
        identity = _identity(model, preprocessor)
        entry = self._record["networks"].get(name)
        if entry is not None:
            changed = [of for of in identity if entry.get(of) != identity[of]]
            if changed:
                what = " and ".join(IDENTITY[of] for of in changed)
                print(f"{name}: {what} differ from before, so its points are computed again")
                entry = None
        if entry is None:
            weights = moved_parameters(model)
            self._record["networks"][name] = entry = {
                **identity,
                "moved": sum(weight.numel() for weight in weights.values()),
                "batch_norm": self.grid.batch_norm if has_batch_norm(model) else "none",
                "points": {},
            }
        known = entry["points"]
        return [key for key in map(_key, self.grid.coordinates()) if key not in known]

    def compute(
        self,
        name: str,
        model: nn.Module,
        batches: Sequence[Mapping[str, Any]],
        missing: Sequence[str],
        bar: ProgressBar,
    ) -> None:
        """Computes the missing points of a network.

        Args:
            name: Its name.
            model: The classifier in eval mode.
            batches: The images.
            missing: Result of :meth:`missing`.
            bar: Is advanced with every point.

        Raises:
            ValueError: If nothing of the network was trained, or its batch norms would be estimated
                on a single image.
        """
        parameters = moved_parameters(model)
        if not parameters:
            raise ValueError(f"{name} has no trained weight of two axes, so nothing can be moved.")
        smallest = min(len(batch["inputs"]) for batch in batches)
        if self.grid.batch_norm == "reestimated" and has_batch_norm(model) and smallest < 2:
            raise ValueError(
                f"{name} has batch norms, which are estimated at each point, but a batch of images "
                "has only 1. Take more --images and a larger --batch, or --batch-norm stored."
            )
        points = self._record["networks"][name]["points"]
        steps = self.grid.steps
        drawn: dict[int, dict] = {}
        for seeds, indices in self.grid.coordinates():
            key = _key((seeds, indices))
            if key not in missing:
                continue
            # Few at a time, since each is as large as the network.
            drawn = {
                seed: drawn[seed] if seed in drawn else random_direction(parameters, seed)
                for seed in seeds
            }
            with moved(parameters, [drawn[s] for s in seeds], [steps[i] for i in indices]):
                if self.grid.batch_norm == "reestimated":
                    reestimate_batch_norm(model, lambda: losses_of(model, batches))
                found = evaluate(model, batches)
            points[key] = [value if math.isfinite(value) else None for value in found]
            write_record(self.path, self._record)
            bar.update()

    def surface(self, name: str) -> Surface:
        """Returns the surface of a network all of whose points are there."""
        points = self._record["networks"][name]["points"]
        number = self.grid.points
        values = np.array(
            [points[_key(place)] for place in self.grid.coordinates()], dtype=float
        ).reshape(-1, len(LossAndAccuracy._fields))
        in_plane = number**2 if self.grid.plane else 0
        plane = values[:in_plane].T.reshape(2, number, number) if self.grid.plane else None
        lines = values[in_plane:].T.reshape(2, self.grid.lines, number)
        return Surface(np.array(self.grid.steps), plane, lines)

    def write_fractions(self, names: Sequence[str], within: float) -> dict[str, dict[str, Any]]:
        """Writes the fractions of points near the minimum, and returns them by name.

        Args:
            names: Networks all of whose points are there.
            within: How near.
        """
        found = {name: self.surface(name).fractions(within) for name in names}
        for name, fractions in found.items():
            self._record["networks"][name]["near_minimum"] = fractions
        write_record(self.path, self._record)
        return found


def _identity(model: nn.Module, preprocessor: Mapping[str, Any] | None) -> dict[str, str]:
    moved_names = "\n".join(moved_parameters(model))
    # Batch augmentations, which mmpretrain adds, are of training alone.
    options = {k: v for k, v in (preprocessor or {}).items() if k != "batch_augments"}
    return {
        "sha256": network_sha256(model),
        "data_preprocessor": json.dumps(options, sort_keys=True, default=str),
        "moved_sha256": hashlib.sha256(moved_names.encode()).hexdigest(),
    }


def _key(place: tuple[tuple[int, ...], tuple[int, ...]]) -> str:
    seeds, indices = (",".join(map(str, numbers)) for numbers in place)
    return f"directions {seeds} steps {indices}"

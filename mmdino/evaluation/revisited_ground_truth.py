"""Ground truth of revisited Oxford and Paris (Radenovic et al. 2018)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdino.evaluation.listed_features import Box
from mmdino.utils.plain_pickle import read_plain_pickle
from mmdino.utils.printable import printable

KINDS = ("easy", "hard", "junk")
LAYOUT = "ROOT/NAME/gnd_NAME.pkl and ROOT/NAME/jpg/*.jpg, such as ROOT/roxford5k/gnd_roxford5k.pkl"


@dataclass(frozen=True)
class QueryTruth:
    """Which database images show what a query shows.

    Args:
        easy: Indices of images that show it clearly.
        hard: Indices of images that show it under difficult conditions.
        junk: Indices of images that show too little of it to count.
        box: Where the query image shows it; None if the file does not say.
    """

    easy: np.ndarray
    hard: np.ndarray
    junk: np.ndarray
    box: Box | None = None


@dataclass(frozen=True)
class GroundTruth:
    """A data set of database images and queries.

    Args:
        database: Names of the N database images, without suffix.
        queries: Names of the Q query images, without suffix.
        truth: The truth on each query.
    """

    database: list[str]
    queries: list[str]
    truth: list[QueryTruth]

    def boxes(self) -> list[Box]:
        """Returns where each query image shows what is searched.

        Raises:
            ValueError: If the file does not say it of a query.
        """
        if missing := [q for q, of in zip(self.queries, self.truth, strict=True) if not of.box]:
            raise ValueError(
                f"The ground truth has no bounding box (bbx) of {len(missing)} queries, such as "
                f"{printable(missing[0])}. Leave out --crop-queries to use whole images."
            )
        return [about.box for about in self.truth]


def read_ground_truth(folder: Path, name: str) -> GroundTruth:
    """Reads ``gnd_NAME.json``, or else ``gnd_NAME.pkl`` without running what a pickle asks for.

    Args:
        folder: Folder of the data set.
        name: Its name, ``"roxford5k"``, ``"rparis6k"`` or that of a set in the same layout.

    Raises:
        FileNotFoundError: If the folder or the file is missing.
        ValueError: If the file is damaged, or not of this layout.
    """
    paths = [folder / f"gnd_{name}.{suffix}" for suffix in ("json", "pkl")]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{paths[1]} does not exist. The layout is {LAYOUT}.")
    if path.suffix == ".pkl":
        content = read_plain_pickle(path)
    else:
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is no JSON: {error}.") from error
    try:
        return _parsed(content)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is no ground truth of revisited Oxford or Paris: {error}. Expected a dict "
            "with imlist and qimlist, lists of names, and gnd, for each query a dict with easy, "
            "hard and junk, lists of indices of imlist."
        ) from error


def _parsed(content: Any) -> GroundTruth:
    if not isinstance(content, Mapping):
        raise TypeError(f"it is a {type(content).__name__}")
    if missing := [key for key in ("imlist", "qimlist", "gnd") if key not in content]:
        raise ValueError(f"{' and '.join(missing)} missing")
    database, queries = (_names(content[key], key) for key in ("imlist", "qimlist"))
    if not isinstance(content["gnd"], Sequence) or len(content["gnd"]) != len(queries):
        raise ValueError(f"gnd is no list of {len(queries)} dicts, one for each query")
    truth = [_query(entry, number, len(database)) for number, entry in enumerate(content["gnd"])]
    return GroundTruth(database, queries, truth)


def _names(names: Any, key: str) -> list[str]:
    listed = [str(name) for name in np.asarray(names, dtype=object).ravel()]
    if not listed:
        raise ValueError(f"{key} is empty")
    for name in listed:
        if Path(name).name != name:
            raise ValueError(f"{key} has {printable(name)!r}, which is no name of a file")
    return listed


def _query(entry: Any, number: int, count: int) -> QueryTruth:
    if not isinstance(entry, Mapping) or any(kind not in entry for kind in KINDS):
        raise ValueError(f"gnd[{number}] lacks easy, hard or junk")
    indices = {}
    for kind in KINDS:
        found = np.asarray(entry[kind])
        if found.size and (found.dtype.kind not in "iu" or found.ndim != 1):
            raise ValueError(f"gnd[{number}]['{kind}'] is no list of whole numbers")
        if found.size and not 0 <= found.min() <= found.max() < count:
            raise ValueError(
                f"gnd[{number}]['{kind}'] goes from {found.min()} to {found.max()}, but imlist has "
                f"{count} images"
            )
        indices[kind] = found.astype(np.int64)
    return QueryTruth(**indices, box=_box(entry.get("bbx"), number))


def _box(box: Any, number: int) -> Box | None:
    if box is None:
        return None
    sides = np.asarray(box, dtype=float)
    if sides.shape != (4,) or not np.isfinite(sides).all():
        raise ValueError(f"gnd[{number}]['bbx'] is not four numbers")
    return tuple(sides.tolist())

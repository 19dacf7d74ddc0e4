"""The features of all images of a folder, with their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mmdino.curation.vectors import Vectors
from mmdino.datasets.image_list import read_image_list
from mmdino.evaluation.bank_extraction import Evaluated, make_bank
from mmdino.evaluation.bank_files import open_features
from mmdino.evaluation.bank_images import all_images
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.feature_bank import COMPARED, NAMES, PART_SIZE, FeatureBank
from mmdino.utils.command_line import require_outside
from mmdino.utils.printable import printable

MAX_NAMED = 5


@dataclass(frozen=True)
class Embedded:
    """Features of images and their names.

    Args:
        bank: The features.
        names: Paths of the images relative to ``source``, in the order of the bank.
        unreadable: Why images could not be read, by name. Banks of former versions have features
            of them, which mean nothing; later ones leave them out.
    """

    bank: FeatureBank
    names: list[str]
    unreadable: dict[str, str]

    @property
    def source(self) -> Path:
        """The folder of the images."""
        return Path(self.bank.plan["source"])

    @cached_property
    def readable(self) -> np.ndarray:
        """Rows of the images that could be read, ascending."""
        return np.array([i for i, name in enumerate(self.names) if name not in self.unreadable])

    def rows(self, listed: str | Path | None = None) -> np.ndarray:
        """Returns the rows of the readable images, or those of a list, ascending.

        Raises:
            FileNotFoundError: If the list is missing.
            ValueError: If the list has an image that the bank lacks, or no readable one is left.
        """
        rows = self.readable
        if listed is not None:
            wanted = set(read_image_list(listed))
            if strange := wanted - set(self.names) - set(self.unreadable):
                raise ValueError(
                    f"{len(strange)} of {len(wanted)} images of the list {printable(listed)!r} are "
                    f"not in {self.bank.folder}: "
                    f"{', '.join(map(printable, sorted(strange)[:MAX_NAMED]))}. Give a list of "
                    f"images of {printable(self.source)!r}."
                )
            rows = np.array([row for row in rows if self.names[row] in wanted])
        if not len(rows):
            raise ValueError(f"No image of {self.bank.folder} can be used: all are unreadable.")
        return rows

    def vectors(self, rows: np.ndarray | None = None) -> Vectors:
        """Returns the unit vectors of some rows, of the readable ones if None."""
        return Vectors(self.bank, self.bank.width, self.readable if rows is None else rows)


def embed(
    evaluated: Evaluated,
    folder: str | Path,
    bank: str | Path,
    options: ExtractionOptions,
    command: str,
    listed: str | None = None,
    part_size: int = PART_SIZE,
) -> Embedded:
    """Computes the features of the images below a folder, or what an interrupted run left over.

    Args:
        evaluated: The network.
        folder: The images, at any depth.
        bank: Folder of the features.
        options: How they are computed.
        command: The command that resumes it, for messages.
        listed: File that lists the images to embed, all if None.
        part_size: Images that an interruption may lose.

    Raises:
        FileNotFoundError: If the folder is missing or holds no images.
        ValueError: If the bank would lie among the images or is of something else.
    """
    require_outside(bank, folder)
    images = all_images(folder, options, listed, evaluated.image_input)
    return _embedded(make_bank(evaluated, images, bank, options, command, part_size))


def open_embedded(folder: str | Path) -> Embedded:
    """Opens what :func:`embed` made.

    Raises:
        FileNotFoundError: If there is no such folder, or it holds no features.
        ValueError: If it is not finished or damaged, or was made by another tool.
    """
    return _embedded(open_features(folder))


def _embedded(bank: FeatureBank) -> Embedded:
    if not bank.names:
        raise ValueError(
            f"The feature bank {bank.folder} has no list of its images ({NAMES}): a former version "
            "made it. Embed the folder again, with --overwrite."
        )
    return Embedded(bank, bank.names, bank.unreadable)


def check_comparable(first: Embedded, second: Embedded) -> None:
    """Checks that features of two sets can be compared.

    Raises:
        ValueError: If they are of different networks or sizes, or differ in width.
    """
    plans = first.bank.plan, second.bank.plan
    different = [name for name in COMPARED if plans[0].get(name) != plans[1].get(name)]
    if different or first.bank.width != second.bank.width:
        raise ValueError(
            f"The features in {first.bank.folder} and {second.bank.folder} cannot be compared: "
            f"widths {first.bank.width} and {second.bank.width}, "
            f"different {', '.join(different) or 'in nothing else'}. Embed both folders with the "
            "same checkpoint and options."
        )


def take(names: Sequence[str], rows: np.ndarray) -> list[str]:
    """Returns the names of some rows."""
    return [names[row] for row in rows]

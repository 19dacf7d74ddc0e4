"""Videos in the layout of DAVIS 2017, and scores of their predicted masks.

Pont-Tuset et al. 2017, semi-supervised task: the mask of the first frame is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmdino.datasets.voc_objects import VOID, read_seg_map
from mmdino.evaluation.region_and_contour import (
    Statistics,
    contour_accuracy,
    region_similarity,
    statistics,
)
from mmdino.utils.printable import printable
from mmdino.visualization.media import list_images, read_image

LAYOUT = (
    "ROOT/ImageSets/2017/SPLIT.txt with a name a line, ROOT/JPEGImages/480p/NAME/00000.jpg, ... "
    "and ROOT/Annotations/480p/NAME/00000.png, ..."
)


@dataclass(frozen=True)
class Video:
    """A video of DAVIS.

    Args:
        name: Its name.
        frames: Files of its frames, in order.
        masks: Folder of the masks, each with the name of its frame.
    """

    name: str
    frames: list[Path]
    masks: Path

    def mask(self, frame: Path) -> Path:
        """Returns the file of the true mask of a frame, which need not exist."""
        return self.masks / f"{frame.stem}.png"

    def read(self) -> Iterator[np.ndarray]:
        """Yields the frames (H, W, 3) uint8 in RGB."""
        return (read_image(path, as_stored=True) for path in self.frames)

    def first_labels(self) -> np.ndarray:
        """Reads the labels (H, W) uint8 of the first frame.

        Raises:
            ValueError: If they cannot be read, or there is no object.
        """
        path = self.mask(self.frames[0])
        labels = read_labels(path)
        if not labels.any():
            raise ValueError(
                f"The mask {printable(path)} has no object: all of it is 0, the background. Leave "
                "the video out, or begin it where an object is seen."
            )
        return labels


def read_labels(path: Path) -> np.ndarray:
    """Reads the objects (H, W) uint8 of a mask, 0 for the background.

    Raises:
        ValueError: If it is no palette or greyscale PNG, or has the value 255.
    """
    labels = read_seg_map(str(path), VOID - 1)
    if (labels == VOID).any():
        raise ValueError(
            f"The mask {printable(path)} has the value {VOID}: DAVIS 2017 numbers objects from 1. "
            "Replace it by 1 if it marks the object, as in DAVIS 2016, or by 0."
        )
    return labels


def read_videos(
    root: Path, split: str = "val", names: Sequence[str] | None = None, resolution: str = "480p"
) -> list[Video]:
    """Lists the videos of a split.

    Args:
        root: Folder of the data set.
        split: Name of the list of videos.
        names: The videos of it to use; None for all.
        resolution: Name of the folders of frames and masks.

    Raises:
        FileNotFoundError: If the list, a video, or the mask of a first frame is missing.
        ValueError: If a name is not in the list, the list is empty, or a frame is there twice.
    """
    path = root / "ImageSets" / "2017" / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(f"{printable(path)} does not exist. The layout is {LAYOUT}.")
    listed = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    listed = [name for name in listed if name]
    if not listed:
        raise ValueError(f"{printable(path)} lists no video.")
    for name in listed:
        if Path(name).name != name or name == "..":
            raise ValueError(
                f"{printable(path)} has {printable(name)!r}: expected a folder's name."
            )
    if unknown := [name for name in names or () if name not in listed]:
        raise ValueError(
            f"{', '.join(map(printable, unknown))} not in {printable(path)}, which lists "
            f"{', '.join(map(printable, listed))}."
        )
    chosen = [name for name in listed if names is None or name in names]
    return [_video(root, name, resolution) for name in chosen]


def _video(root: Path, name: str, resolution: str) -> Video:
    folder = root / "JPEGImages" / resolution / name
    frames = list_images(folder)
    if len({path.stem for path in frames}) < len(frames):
        raise ValueError(
            f"{printable(folder)} has two files for one frame, with different suffixes. Remove one."
        )
    video = Video(name, frames, root / "Annotations" / resolution / name)
    first = video.mask(frames[0])
    if not first.is_file():
        raise FileNotFoundError(
            f"{printable(first)} does not exist: the mask of a video's first frame is what is "
            f"propagated. The layout is {LAYOUT}."
        )
    return video


@dataclass(frozen=True)
class ObjectScores:
    """J and F of an object over the frames of a video."""

    region: Statistics
    contour: Statistics


def object_scores(video: Video, predicted: Path) -> dict[int, ObjectScores]:
    """Scores predicted masks: each object in all frames but the first and the last.

    Args:
        video: The video.
        predicted: Folder of the predicted masks, named as the frames.

    Returns:
        Scores by the number of the object; empty if no such frame has a true mask.

    Raises:
        ValueError: If a mask cannot be read, or a true one has another shape.
    """
    first = video.first_labels()
    objects = [int(number) for number in np.unique(first) if number]
    pairs: dict[int, list[tuple[float, float]]] = {number: [] for number in objects}
    for frame in video.frames[1:-1]:
        if not video.mask(frame).is_file():
            continue
        truth = read_labels(video.mask(frame))
        found = read_labels(predicted / f"{frame.stem}.png")
        if truth.shape != found.shape:
            raise ValueError(
                f"The mask {printable(video.mask(frame))} has {truth.shape[1]} x {truth.shape[0]} "
                f"pixels, but that of the first frame {found.shape[1]} x {found.shape[0]}."
            )
        for number, scores in pairs.items():
            masks = truth == number, found == number
            scores.append((region_similarity(*masks), contour_accuracy(*masks)))
    return {
        number: ObjectScores(*map(statistics, zip(*scores, strict=True)))
        for number, scores in pairs.items()
        if scores
    }

"""Inputs of the tools that draw: images, folders of images and videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmdino.visualization.media import (
    DEFAULT_FPS,
    is_video,
    list_images,
    read_frames,
    read_image,
    video_fps,
)


class Source(NamedTuple):
    """An input: an image, a folder of images, or a video.

    Attributes:
        path: Its path.
        name: Its name, for the files that are written.
        read: Returns an iterator over names and images (H, W, 3) uint8, RGB.
        count: Returns the number of images; it decodes a video.
        is_sequence: Whether it can be animated.
        fps: Frames per second of the animation.
    """

    path: Path
    name: str
    read: Callable[[], Iterator[tuple[str, np.ndarray]]]
    count: Callable[[], int]
    is_sequence: bool
    fps: float = DEFAULT_FPS


def source_of(path: Path, every: int) -> Source:
    """Returns the source of a path: an image, a folder or a video.

    Raises:
        FileNotFoundError: If it does not exist, or is a folder without images.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"The input {str(path)!r} does not exist: expected an image, a folder of images or a "
            "video."
        )
    if path.is_dir():
        images = list_images(path)[::every]
        names = image_names(images)
        return Source(
            path,
            path.resolve().name,
            lambda: zip(names, map(read_image, images), strict=True),
            lambda: len(images),
            True,
        )
    if is_video(path):

        def frames() -> Iterator[tuple[str, np.ndarray]]:
            for index, frame in enumerate(read_frames(path, every)):
                yield f"{path.stem}_{index * every:06d}", frame

        return Source(
            path,
            path.stem,
            frames,
            lambda: sum(1 for _ in frames()),
            True,
            video_fps(path) / every,
        )
    return Source(path, path.stem, lambda: iter([(path.stem, read_image(path))]), lambda: 1, False)


def image_names(paths: Sequence[Path]) -> list[str]:
    """Returns the names of images, with the suffix only if it is needed to distinguish them."""
    stems = Counter(path.stem for path in paths)
    return [path.stem if stems[path.stem] == 1 else path.name for path in paths]


def add_output(path: Path, written: set[Path]) -> None:
    """Records an output file.

    Raises:
        ValueError: If another input of this run has the same output.
    """
    if path in written:
        raise ValueError(
            f"Two inputs have the same name, and the second would overwrite {path}. Run them "
            "separately, each with its own --out."
        )
    written.add(path)

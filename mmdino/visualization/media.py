"""Reading of images and videos, and writing of animations."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from mmengine import fileio
from PIL import ExifTags, Image

from mmdino.datasets.image_check import MAX_PIXELS, content_fault, image_fault
from mmdino.datasets.tar_shards import find_member
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.printable import printable

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
VIDEO_SUFFIXES = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
DEFAULT_FPS = 8.0
MAX_FPS = 1000.0
MAX_GIF_FPS = 50.0  # Browsers slow down faster GIFs.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation; 1 is upright."""


def is_image_there(path: str | Path) -> bool:
    """Whether there is a file, or a member of a tar shard, for :func:`read_image`."""
    return Path(path).is_file() or find_member(path) is not None


def read_image(path: str | Path, as_stored: bool = False) -> np.ndarray:
    """Reads an image as (H, W, 3) uint8, RGB, as an image viewer would show it.

    The EXIF orientation is applied, grey images are converted to RGB, transparent pixels become
    white, and 16-bit images are scaled to 8 bits.

    Args:
        path: The file, or its path through a tar shard, such as ``train-0.tar/0001.jpg``.
        as_stored: Whether to ignore the EXIF orientation.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read as an image.
    """
    source, fault = _source(path)
    if fault:
        raise ValueError(
            f"{printable(path)} cannot be read as an image: it {fault}. Repair or remove it."
        )
    # Errors of Pillow's decoders for corrupted files.
    unreadable = (
        *(OSError, RuntimeError, SyntaxError, ValueError, struct.error),
        Image.DecompressionBombError,
    )
    try:
        with Image.open(source) as opened:
            opened.load()
            image = opened.copy() if as_stored else _upright(opened)
    except unreadable as error:
        raise ValueError(
            f"{printable(path)} cannot be read as an image ({error}). Repair or remove it."
        ) from error
    return _as_rgb(image, path)


def _upright(image: Image.Image) -> Image.Image:
    """Returns a loaded image, turned as its EXIF orientation says.

    Pillow's ``exif_transpose`` also writes the EXIF data anew, and fails where other entries of a
    camera are not as they should be.
    """
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except (AttributeError, OSError, SyntaxError, TypeError, ValueError, struct.error):
        turn = None  # Damaged EXIF data does not damage the pixels.
    return image.copy() if turn is None else image.transpose(turn)


def _source(path: str | Path) -> tuple[str | Path | io.BytesIO, str | None]:
    """Returns what to open, and why it should not be decoded, None if nothing speaks against it."""
    if Path(path).exists():
        return path, image_fault(path)
    member = find_member(path)
    if member is None:
        raise FileNotFoundError(f"The image {str(path)!r} does not exist.")
    content = fileio.get(member)
    return io.BytesIO(content), content_fault(io.BytesIO(content), len(content))


def _as_rgb(image: Image.Image, path: str | Path) -> np.ndarray:
    if image.mode == "F":
        raise ValueError(
            f"{path} has floating-point pixels of unknown range. Save it with 8 or 16 bits per "
            "channel."
        )
    # Pillow's conversion would clip 16-bit levels at 255.
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(
                f"{path} has levels from {levels.min()} to {levels.max()}: expected 8 or 16 bits "
                "per channel."
            )
        return np.repeat((levels // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an image (H, W, 3) uint8, RGB, atomically as PNG."""
    with atomic_write(path) as temporary:
        Image.fromarray(image).save(temporary, format="png")


def list_images(folder: str | Path) -> list[Path]:
    """Lists the images of a folder in natural order, frame2 before frame10.

    Hidden files are left out: a Mac writes ``._photo.jpg`` beside ``photo.jpg`` on other systems'
    drives, which is no image.

    Raises:
        FileNotFoundError: If the folder does not exist or contains no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {str(folder)!r} does not exist.")
    images = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    ]
    if not images:
        raise FileNotFoundError(
            f"The folder {str(folder)!r} has no image with one of the suffixes "
            f"{', '.join(IMAGE_SUFFIXES)}. Hidden files are left out, and "
            "subfolders are not searched."
        )
    return sorted(images, key=natural_order)


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """Sorting key that compares numbers within names by value."""
    parts = re.split(r"([0-9]+)", path.name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name


def is_video(path: str | Path) -> bool:
    """Returns whether a path has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


@contextmanager
def _opened(path: str | Path) -> Iterator[cv2.VideoCapture]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"The video {str(path)!r} does not exist.")
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise ValueError(
                f"OpenCV cannot read the video {path}: it is corrupted, or in a format that this "
                "build of OpenCV does not support. Convert it to MP4 or to a folder of images."
            )
        width, height = (
            capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"The video {path} has frames of {width:.0f} x {height:.0f} pixels, more than "
                f"{MAX_PIXELS}. Scale it down."
            )
        yield capture
    finally:
        capture.release()


def video_fps(path: str | Path) -> float:
    """Returns the frames per second of a video, ``DEFAULT_FPS`` if it has no sensible number.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read.
    """
    with _opened(path) as capture:
        fps = capture.get(cv2.CAP_PROP_FPS)
        return fps if 0 < fps <= MAX_FPS else DEFAULT_FPS


def read_frames(path: str | Path, every: int = 1) -> Iterator[np.ndarray]:
    """Yields the first and then every ``every``-th frame of a video, (H, W, 3) uint8, RGB.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, has no frame, or ``every`` is below 1.
    """
    if every < 1:
        raise ValueError(f"invalid every={every} of the frames of a video: expected at least 1.")
    with _opened(path) as capture:
        index = 0
        while capture.grab():
            if index % every == 0:
                decoded, frame = capture.retrieve()
                if not decoded:
                    raise ValueError(f"Frame {index} of the video {path} cannot be decoded.")
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            index += 1
    if not index:
        raise ValueError(f"The video {path} has no frame that OpenCV can read.")


def write_animation(path: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    """Writes frames as GIF or MP4, atomically.

    Args:
        path: Path with the suffix ``.gif`` or ``.mp4``.
        frames: Frames (H, W, 3) uint8, RGB, all of one shape.
        fps: Frames per second.

    Returns:
        The number of frames.

    Raises:
        ValueError: If there is no frame, one is no colour image or of another shape, or ``fps`` or
            the suffix is invalid.
        RuntimeError: If this build of OpenCV cannot write MP4.
    """
    if path.suffix not in (".gif", ".mp4"):
        raise ValueError(f"Cannot write the animation {path}: its suffix must be .gif or .mp4.")
    if not 0 < fps <= MAX_FPS:
        raise ValueError(f"invalid fps={fps} of {path}: expected above 0, at most {MAX_FPS:g}.")
    count = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal count
        shape = None
        for frame in frames:
            if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
                raise ValueError(
                    f"Frame {count} is {frame.dtype} of shape {frame.shape}: expected uint8 of "
                    "shape (H, W, 3), RGB."
                )
            shape = shape or frame.shape
            if frame.shape != shape:
                raise ValueError(
                    f"Frame {count} has {frame.shape[1]} x {frame.shape[0]} pixels, but the first "
                    f"one {shape[1]} x {shape[0]}. All frames must have the same size."
                )
            count += 1
            yield frame

    stream = counted()
    first = next(stream, None)
    if first is None:
        raise ValueError(f"There is no frame to write to {path}.")
    with atomic_write(path) as temporary:
        write = _write_gif if path.suffix == ".gif" else _write_mp4
        write(temporary, chain([first], stream), fps)
    return count


def _write_gif(path: Path, frames: Iterator[np.ndarray], fps: float) -> None:
    images = (Image.fromarray(frame) for frame in frames)
    first = next(images)
    duration = round(1000 / min(fps, MAX_GIF_FPS))
    first.save(path, save_all=True, append_images=images, duration=duration, loop=0)


def _write_mp4(path: Path, frames: Iterator[np.ndarray], fps: float) -> None:
    first = next(frames)
    # The codec requires even sides.
    height, width = (side + side % 2 for side in first.shape[:2])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    try:
        if not writer.isOpened():
            raise RuntimeError(
                "This build of OpenCV cannot write MP4 (codec mp4v). Write a GIF instead, or "
                "install opencv-python, which includes the codec."
            )
        for frame in chain([first], frames):
            bottom, right = height - frame.shape[0], width - frame.shape[1]
            padded = np.pad(frame, ((0, bottom), (0, right), (0, 0)), mode="edge")
            writer.write(cv2.cvtColor(padded, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()

"""Sets in the layouts of Oxford and Paris, Copydays and DAVIS, made of any photographs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mmdino.curation.planting import ALTERATIONS
from mmdino.visualization.mask_overlay import write_palette_png
from mmdino.visualization.media import read_image

NAME = "made"
EASY = (("crop 90 %",), ("JPEG quality 50",), ("resize 50 %",))
HARD = (("flip",), ("crop 70 %", "crop 70 %"), ("flip", "crop 70 %", "JPEG quality 10"))
"""Alterations that are right answers to the original as a query."""
BLOCKS = {
    "crops/10": ("crop 90 %",),
    "crops/30": ("crop 70 %",),
    "jpegqual/50": ("JPEG quality 50",),
    "jpegqual/10": ("JPEG quality 10",),
    "strong": ("flip", "crop 70 %", "crop 70 %", "JPEG quality 10"),
}
FRAME = (192, 256)
"""Height and width of a frame in pixels."""
OBJECT = (80, 96)
PAN = 2
"""Pixels that the background moves a frame; objects move two to four."""


def altered(path: Path, names: Sequence[str], seed: int) -> Image.Image:
    """Returns a photograph after alterations of :data:`ALTERATIONS`, one after the other."""
    image, rng = Image.fromarray(read_image(path)), np.random.default_rng(seed)
    for name in names:
        image = Image.open(io.BytesIO(ALTERATIONS[name](image, rng))).convert("RGB")
    return image


def write_jpeg(image: Image.Image, path: Path) -> None:
    """Writes an image, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=95)


def write_retrieval(photographs: Sequence[Path], root: Path) -> None:
    """Writes six altered copies of each photograph as database; the photographs are the queries."""
    folder = root / NAME
    database, queries, truth = [], [], []
    for number, path in enumerate(photographs):
        queries.append(f"query_{number:04}")
        write_jpeg(altered(path, (), 0), folder / "jpg" / f"{queries[-1]}.jpg")
        truth.append({"easy": [], "hard": [], "junk": []})
        for kind, alterations in (("easy", EASY), ("hard", HARD)):
            for names in alterations:
                truth[-1][kind].append(len(database))
                database.append(f"image_{len(database):05}")
                copy = altered(path, names, len(database))
                write_jpeg(copy, folder / "jpg" / f"{database[-1]}.jpg")
    content = {"imlist": database, "qimlist": queries, "gnd": truth}
    (folder / f"gnd_{NAME}.json").write_text(json.dumps(content))


def write_copies(originals: Sequence[Path], others: Sequence[Path], root: Path) -> None:
    """Writes originals and a block of copies for each of ``BLOCKS``, and distractors."""
    for number, path in enumerate(originals):
        name = f"{2000 + number}00.jpg"
        write_jpeg(altered(path, (), 0), root / "copydays" / "original" / name)
        for block, names in BLOCKS.items():
            write_jpeg(altered(path, names, number), root / "copydays" / block / name)
    for path in others:
        write_jpeg(altered(path, (), 0), root / "distractors" / f"{path.stem}.jpg")


def write_videos(photographs: Sequence[Path], root: Path, videos: int, frames: int) -> None:
    """Writes videos of two elliptic crops that move before a third photograph, and their masks."""
    names = [f"made_{number:02}" for number in range(videos)]
    for number, name in enumerate(names):
        three = [photographs[(3 * number + i) % len(photographs)] for i in range(3)]
        for step, (image, labels) in enumerate(moving_crops(three, frames, number)):
            frame = root / "JPEGImages" / "480p" / name / f"{step:05}.jpg"
            write_jpeg(Image.fromarray(image), frame)
            write_palette_png(root / "Annotations" / "480p" / name / f"{step:05}.png", labels)
    listed = root / "ImageSets" / "2017" / "val.txt"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("\n".join(names) + "\n")


def moving_crops(
    paths: Sequence[Path], frames: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields frames (H, W, 3) uint8 and labels (H, W) uint8, 1 and 2 for the crops.

    Args:
        paths: Photographs: the background, and one for each crop.
        frames: Number of frames.
        seed: Seed of places and directions.
    """
    rng = np.random.default_rng(seed)
    background, *objects = (Image.fromarray(read_image(path)) for path in paths)
    wide = fitted(background, (FRAME[0], FRAME[1] + PAN * frames))
    crops = [fitted(image, OBJECT) for image in objects]
    down, right = np.mgrid[: OBJECT[0], : OBJECT[1]]
    ellipse = np.hypot(down / OBJECT[0] - 0.5, right / OBJECT[1] - 0.5) < 0.5
    room = np.subtract(FRAME, OBJECT)
    places = rng.uniform(0, room, (2, 2))
    moves = rng.uniform(2, 4, (2, 2)) * rng.choice([-1, 1], (2, 2))
    for step in range(frames):
        frame = wide[:, PAN * step : PAN * step + FRAME[1]].copy()
        labels = np.zeros(FRAME, np.uint8)
        for label, crop in enumerate(crops, 1):
            # Reflected at the borders.
            along = (places[label - 1] + step * moves[label - 1]) % (2 * room)
            top, left = np.minimum(along, 2 * room - along).astype(int)
            window = slice(top, top + OBJECT[0]), slice(left, left + OBJECT[1])
            frame[window][ellipse] = crop[ellipse]
            labels[window][ellipse] = label
        yield frame, labels


def fitted(image: Image.Image, shape: tuple[int, int]) -> np.ndarray:
    """Resizes and crops a photograph to (H, W, 3)."""
    return np.asarray(ImageOps.fit(image, shape[::-1], Image.Resampling.BICUBIC))

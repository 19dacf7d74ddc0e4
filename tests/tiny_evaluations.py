"""Tiny sets in the layouts of Oxford and Paris, Copydays, DISC21 and DAVIS 2017."""

from __future__ import annotations

import pickle

import numpy as np
from PIL import Image
from tiny_vit import picture

from mmdino.visualization.mask_overlay import write_palette_png

DATABASE = ["all_souls_000013", "christ_church_000179", "oxford_002904", "keble_000028"]
QUERIES = ["all_souls_000013_query", "keble_000245"]
TRUTH = [
    {"easy": [0], "hard": [1], "junk": [3], "bbx": [8.0, 4.0, 50.5, 36.0]},
    {"easy": [], "hard": [3], "junk": [], "bbx": [4.0, 9.0, 40.0, 33.0]},
]


def save(path, image):
    """Writes an image, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def write_revisited(root, name="roxford5k", truth=TRUTH):
    """Writes four database images and two queries that are near-copies of two of them."""
    for seed, image in enumerate(DATABASE):
        # Sides that are no multiple of a patch of 8.
        save(root / name / "jpg" / f"{image}.jpg", picture(seed, 41 + seed, 61))
    for image, seed in zip(QUERIES, (0, 3), strict=True):
        save(root / name / "jpg" / f"{image}.jpg", picture(seed, 41 + seed, 61)[:, :58])
    content = {"imlist": DATABASE, "qimlist": QUERIES, "gnd": truth}
    (root / name / f"gnd_{name}.pkl").write_bytes(pickle.dumps(content, protocol=2))
    return root


def write_copydays(root):
    """Writes three originals, with crops and strong copies, and distractors in folders."""
    for number in range(3):
        image = picture(number)
        save(root / "copydays" / "original" / f"20{number}000.jpg", image)
        save(root / "copydays" / "crops" / "10" / f"20{number}000.jpg", image[2:-2, 3:-3])
        save(root / "copydays" / "strong" / f"20{number}0{number + 1:02}.jpg", 255 - image)
    for number in range(4):
        save(root / "others" / str(number % 2) / f"{number}.jpg", picture(10 + number))
    return root


def write_lists(root):
    """Writes queries, references and pairs as DISC21 has them; query 2 is a copy of none."""
    for number in range(4):
        save(root / "references" / f"R{number:06}.jpg", picture(number))
    for number in range(3):
        save(root / "queries" / f"Q{number:05}.jpg", picture(number if number < 2 else 9)[::-1])
    rows = ["query_id,reference_id", "Q00000,R000000", "Q00001,R000001", "Q00002,"]
    (root / "pairs.csv").write_text("\n".join(rows) + "\n")
    return root


def moving_squares(frames=6, height=48, width=70, seed=0):
    """Frames with noise and one or two moving squares, and their labels."""
    rng = np.random.default_rng(seed)
    for step in range(frames):
        image = rng.integers(0, 60, (height, width, 3)).astype(np.uint8)
        labels = np.zeros((height, width), np.uint8)
        labels[8:24, 4 + 4 * step : 20 + 4 * step] = 1
        labels[28:44, 40 - 2 * step : 56 - 2 * step] = 2
        image[labels == 1] += np.array([180, 20, 20], np.uint8)
        image[labels == 2] += np.array([20, 20, 180], np.uint8)
        yield image, labels


def write_davis(root):
    """Writes two videos, "bear" with a mask of each frame and "goat" with that of the first."""
    lists = root / "ImageSets" / "2017"
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "val.txt").write_text("bear\ngoat\n")
    write_video(root, "bear", 6, masks=6)
    write_video(root, "goat", 5)
    return root


def write_video(root, name, frames=3, masks=1):
    """Writes the frames of a video, and the masks of the first of them."""
    for step, (image, labels) in enumerate(moving_squares(frames)):
        save(root / "JPEGImages" / "480p" / name / f"{step:05}.jpg", image)
        if step < masks:
            write_palette_png(root / "Annotations" / "480p" / name / f"{step:05}.png", labels)


def write_sets(root):
    """Writes all of these, and sets like them that are damaged."""
    write_davis(write_lists(write_copydays(write_revisited(root))))
    for name in ("no_image", "broken_image"):
        write_revisited(root, name)
    (root / "no_image" / "jpg" / f"{DATABASE[1]}.jpg").unlink()
    (root / "broken_image" / "jpg" / f"{QUERIES[0]}.jpg").write_bytes(b"no image")
    write_revisited(root, "no_boxes", [{**of, "bbx": None} for of in TRUTH])
    write_revisited(root, "old_kind", [{"ok": [0], "junk": []}] * 2)
    write_revisited(root, "cut_short")
    (root / "cut_short" / "gnd_cut_short.pkl").write_bytes(b"\x80\x02}q\x00")
    write_revisited(root, "evil")
    evil = b"cposix\nsystem\n(S'touch ran'\ntR."
    (root / "evil" / "gnd_evil.pkl").write_bytes(evil)
    (root / "strange.csv").write_text("query_id,reference_id\nQ00000,R000009\n")
    (root / "header.csv").write_text("Q00000,R000000\n")
    save(root / "odd" / "original" / "200000.jpg", picture())
    save(root / "odd" / "strong" / "999900.jpg", picture())
    save(root / "bare" / "original" / "200000.jpg", picture())
    lists = root / "ImageSets" / "2017"
    for name in ("gone", "grown", "marked", "colored", "masked"):
        (lists / f"{name}.txt").write_text(f"{name}\n")
        if name != "gone":
            write_video(root, name)
    (lists / "empty.txt").write_text("\n")
    (lists / "outside.txt").write_text("../480p\n")
    frames, masks = (root / kind / "480p" for kind in ("JPEGImages", "Annotations"))
    save(frames / "grown" / "00002.jpg", picture(0, 60, 70))
    marked = np.full((48, 70), 255, np.uint8)
    write_palette_png(masks / "marked" / "00000.png", marked)
    save(masks / "colored" / "00000.png", picture(0, 48, 70))
    (masks / "masked" / "00000.png").unlink()
    return root

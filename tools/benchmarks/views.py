"""Compares this project's views with those of the paper's chain, made by Pillow and torchvision.

python tools/benchmarks/views.py --images DIR. Nothing is timed: the first table has the difference
of the resized crops, the second that of our two ways to change colours where all choices are the
same, the third whether means, deviations and histograms of 2,000 views per group are equal within
sampling error. --pictures takes others than the photographs as they are.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from common.options import output_file, positive
from common.report import print_table, write_json
from common.view_chains import one_thread, pillow_view
from common.view_loader import draw_photographs, list_photographs
from common.view_statistics import FAR, deviates, view_statistics
from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.datasets.synthetic_shapes.drawn_shapes import DrawnShapes
from mmdino.datasets.transforms import MultiCropTransform
from mmdino.datasets.transforms.multi_crop import (
    COLOR_PATHS,
    finish_fused,
    finish_sequential,
)
from mmdino.datasets.transforms.views.group import PAPER_VIEWS, ViewGroup, parse_view_groups
from mmdino.datasets.transforms.views.ops import (
    LEVELS_16_TO_8,
    draw_crop_box,
    resize_crop,
    to_gray,
)
from mmdino.datasets.transforms.views.plan import draw_view_plan
from mmdino.utils.tool_errors import ToolParser, run_tool

LEVEL_TARGET = 1.0
"""Allowed mean absolute difference of a crop or a view, on a scale of 255."""
SAME_CHOICES = 10
"""Views of a picture that are made both ways."""
VIVIDNESS = 3
"""Factor of the saturation, in HSV, of a vivid picture."""
PICTURES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "photographs": lambda photo: photo,
    "vivid": lambda photo: vivid(photo),
    "grey": to_gray,
    "16 bits": lambda photo: photo.astype(np.uint16) * LEVELS_16_TO_8,
}
"""What is made of a photograph before views are made of it."""
SHAPES = "shapes"


def main(argv: Sequence[str] | None = None) -> None:
    """Compares, prints and writes.

    Raises:
        FileNotFoundError: If there are no photographs.
        ValueError: If a number is below 1.
    """
    parser = ToolParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--images", default="data/imagenet_sample", help="folder of photographs")
    parser.add_argument("--count", type=int, default=20, help="number of photographs")
    parser.add_argument("--views", type=int, default=2000, help="views per group, in total")
    parser.add_argument(
        "--pictures",
        nargs="+",
        choices=[*PICTURES, SHAPES],
        default=["photographs"],
        help="photographs as they are, or changed; shapes: those of the demo",
    )
    parser.add_argument("--global-size", type=positive, default=224, help="side of global views")
    parser.add_argument("--local-size", type=positive, default=96, help="side of local views")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to check that it runs")
    parser.add_argument("--json", type=output_file, help="JSON file to write the results to")
    args = parser.parse_args(argv)
    if not 1 <= args.count <= args.views:
        raise ValueError(
            f"invalid --count {args.count} or --views {args.views}: expected at least one "
            "photograph, and at least as many views as photographs."
        )
    one_thread()
    *global_groups, local_group = PAPER_VIEWS
    sized = [{**group, "size": args.global_size} for group in global_groups]
    groups = parse_view_groups([*sized, {**local_group, "size": args.local_size}])
    with tempfile.TemporaryDirectory() as folder:
        if args.smoke:
            draw_photographs(Path(folder))
            args.images, args.count, args.views = folder, 4, 40
        files = list_photographs(args.images)
        photos = [cv2.imread(str(path)) for path in files[:: max(1, len(files) // args.count)]]
    photos = photos[: args.count]
    pictures = {kind: pictures_of(kind, photos) for kind in args.pictures}
    tables: dict[str, list[dict[str, Any]]] = {
        "resize": [resize_row(group, photos) for group in groups],
        "same choices": [
            {"pictures": kind, **same_choices_row(group, images)}
            for kind, images in pictures.items()
            for group in groups
        ],
        "colour": [
            {"pictures": kind, **row}
            for kind, images in pictures.items()
            for group in groups
            for row in color_rows(group, images, args.views)
        ],
    }
    print_table(
        tables["resize"],
        f"Resized crops of {len(photos)} photographs against Pillow's antialiased bicubic, of 255. "
        f"Target: a mean difference of at most {LEVEL_TARGET:g}.",
    )
    print_table(
        tables["same choices"],
        f"Views of fused and of sequential colours with the same choices, of 255. Target: a mean "
        f"difference of at most {LEVEL_TARGET:g}.",
    )
    print_table(
        tables["colour"],
        f"{args.views} views per group: differences of statistics in standard errors. Target: none "
        f"above {FAR}.",
    )
    if args.json:
        write_json(args.json, "views", vars(args), tables, argv)


def resize_row(group: ViewGroup, photos: Sequence[np.ndarray]) -> dict[str, Any]:
    """Compares the resized crops of a group with Pillow's of the same boxes."""
    rng = np.random.default_rng(0)
    means = []
    for photo in photos:
        height, width = photo.shape[:2]
        top, left, box_height, box_width = box = draw_crop_box(
            rng, height, width, group.scale, group.ratio
        )
        crop = Image.fromarray(photo).crop((left, top, left + box_width, top + box_height))
        theirs = np.asarray(crop.resize(group.size[::-1], Image.Resampling.BICUBIC), np.float32)
        means.append(np.abs(resize_crop(photo, box, group.size) - theirs).mean())
    return {
        "views": name(group),
        "mean difference": float(np.mean(means)),
        "largest for a crop": float(np.max(means)),
        "reached": "yes" if max(means) <= LEVEL_TARGET else "no",
    }


def pictures_of(kind: str, photos: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns as many pictures of a kind as there are photographs."""
    if kind == SHAPES:
        drawn = DrawnShapes(num_images=len(photos), pipeline=[])
        return [drawn[index]["img"] for index in range(len(photos))]
    return [PICTURES[kind](photo) for photo in photos]


def vivid(photo: np.ndarray) -> np.ndarray:
    """Raises the saturation of a photograph."""
    hue, saturation, value = cv2.split(cv2.cvtColor(photo, cv2.COLOR_BGR2HSV))
    saturation = cv2.convertScaleAbs(saturation, alpha=VIVIDNESS)
    return cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2BGR)


def same_choices_row(group: ViewGroup, pictures: Sequence[np.ndarray]) -> dict[str, Any]:
    """Compares views of both ways to change colours, with the same crop and the same changes."""
    rng = np.random.default_rng(0)
    means = []
    for picture in pictures:
        for _ in range(SAME_CHOICES):
            plan = draw_view_plan(rng, *picture.shape[:2], group)
            crop = resize_crop(picture, plan.box, group.size)
            fused, sequential = (
                finish(crop, plan, group).astype(np.float32)
                for finish in (finish_fused, finish_sequential)
            )
            means.append(np.abs(fused - sequential).mean())
    return {
        "views": name(group),
        "mean difference": float(np.mean(means)),
        "largest for a view": float(np.max(means)),
        "reached": "yes" if np.mean(means) <= LEVEL_TARGET else "no",
    }


def color_rows(group: ViewGroup, photos: Sequence[np.ndarray], views: int) -> list[dict[str, Any]]:
    """Compares the statistics of views: each color option with the paper's chain."""
    each = views // len(photos)
    theirs = measured(pillow_maker(group), photos, each)
    rows = []
    for color in COLOR_PATHS:
        found = deviates(measured(our_maker(group, color), photos, each), theirs)
        rows.append(
            {
                "views": name(group),
                "colours": color,
                "statistics": len(found),
                "above 2": int((found > 2).sum()),
                "largest": float(found.max()),
                "reached": "yes" if found.max() <= FAR else "no",
            }
        )
    return rows


def name(group: ViewGroup) -> str:
    """Names a group by the options that differ between groups."""
    height, width = group.size
    return f"{height} x {width}, blur {group.blur_prob:g}, solarize {group.solarize_prob:g}"


def measured(
    make: Callable[[np.ndarray, int], np.ndarray], photos: Sequence[np.ndarray], each: int
) -> np.ndarray:
    """Returns statistics (I, N, S) of N views of each of I photographs."""
    return np.stack([view_statistics(make(photo, each)) for photo in photos])


def our_maker(group: ViewGroup, color: str) -> Callable[[np.ndarray, int], np.ndarray]:
    """Returns a function that makes our views (N, H, W, 3) of a photograph."""
    seeds = iter(range(1 << 62))

    def make(photo: np.ndarray, each: int) -> np.ndarray:
        transform = MultiCropTransform([{**vars(group), "num": each}], color=color)
        seed = next(seeds)
        return np.stack(
            transform({"img": photo, "sample_idx": SeededIndex(seed, (0, seed))})["img"]
        )

    return make


def pillow_maker(group: ViewGroup) -> Callable[[np.ndarray, int], np.ndarray]:
    """Returns a function that makes views (N, H, W, 3) by the paper's chain."""
    random.seed(0)
    torch.manual_seed(0)
    view = pillow_view(group, normalise=False)

    def make(photo: np.ndarray, each: int) -> np.ndarray:
        levels = photo if photo.dtype == np.uint8 else (photo // LEVELS_16_TO_8).astype(np.uint8)
        image = Image.fromarray(levels[..., ::-1].copy())
        tensors = torch.stack([view(image) for _ in range(each)])
        return tensors.permute(0, 2, 3, 1).flip(-1).contiguous().numpy()

    return make


if __name__ == "__main__":
    run_tool(main)

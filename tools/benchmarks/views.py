"""Compares this project's views with those of the paper's chain, made by Pillow and torchvision.

python tools/benchmarks/views.py --images DIR. Nothing is timed: the first table has the difference
of the resized crops, the second whether means, deviations and histograms of 2,000 views per group
are equal within sampling error.
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

from common.options import output_file
from common.report import print_table, write_json
from common.view_chains import one_thread, pillow_view
from common.view_loader import draw_photographs, list_photographs
from common.view_statistics import FAR, deviates, view_statistics
from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.datasets.transforms import MultiCropTransform
from mmdino.datasets.transforms.views.group import PAPER_VIEWS, ViewGroup, parse_view_groups
from mmdino.datasets.transforms.views.ops import draw_crop_box, resize_crop
from mmdino.utils.tool_errors import ToolParser, run_tool

RESIZE_TARGET = 1.0
"""Allowed mean absolute difference of a resized crop, on a scale of 255."""
COLORS = ("fused", "sequential")


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
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to check that it runs")
    parser.add_argument("--json", type=output_file, help="JSON file to write the results to")
    args = parser.parse_args(argv)
    if not 1 <= args.count <= args.views:
        raise ValueError(
            f"invalid --count {args.count} or --views {args.views}: expected at least one "
            "photograph, and at least as many views as photographs."
        )
    one_thread()
    groups = parse_view_groups(PAPER_VIEWS)
    with tempfile.TemporaryDirectory() as folder:
        if args.smoke:
            draw_photographs(Path(folder))
            args.images, args.count, args.views = folder, 4, 40
        files = list_photographs(args.images)
        photos = [cv2.imread(str(path)) for path in files[:: max(1, len(files) // args.count)]]
    photos = photos[: args.count]
    tables = {
        "resize": [resize_row(group, photos) for group in groups],
        "colour": [row for group in groups for row in color_rows(group, photos, args.views)],
    }
    print_table(
        tables["resize"],
        f"Resized crops of {len(photos)} photographs against Pillow's antialiased bicubic, of 255. "
        f"Target: a mean difference of at most {RESIZE_TARGET:g}.",
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
        "reached": "yes" if max(means) <= RESIZE_TARGET else "no",
    }


def color_rows(group: ViewGroup, photos: Sequence[np.ndarray], views: int) -> list[dict[str, Any]]:
    """Compares the statistics of views: each color option with the paper's chain."""
    each = views // len(photos)
    theirs = measured(pillow_maker(group), photos, each)
    rows = []
    for color in COLORS:
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
        image = Image.fromarray(photo[..., ::-1].copy())
        tensors = torch.stack([view(image) for _ in range(each)])
        return tensors.permute(0, 2, 3, 1).flip(-1).contiguous().numpy()

    return make


if __name__ == "__main__":
    run_tool(main)

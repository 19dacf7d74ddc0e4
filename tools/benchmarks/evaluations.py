"""Runs retrieval, copy detection and video segmentation on sets made of any photographs.

python tools/benchmarks/evaluations.py CHECKPOINT PHOTOGRAPHS --out work_dirs/made

The sets are altered copies and moving crops of the photographs, in the layouts that the tools read.
The network is compared with itself untrained, and with what needs no network: the pixels of a
thumbnail, and the first mask of a video kept in place.
"""

from __future__ import annotations

import argparse
import json
import runpy
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from common.made_sets import NAME, write_copies, write_retrieval, write_videos
from common.options import figure_file, output_file, positive
from common.report import print_table, write_json
from mmdino.evaluation.copy_detection import RETRIEVED, retrieved_average_precision, squeeze
from mmdino.evaluation.copy_sets import images_below, read_copydays
from mmdino.evaluation.davis import ObjectScores, Video, object_scores, read_labels, read_videos
from mmdino.evaluation.retrieval import rank, retrieval_scores
from mmdino.evaluation.revisited_ground_truth import read_ground_truth
from mmdino.utils.tool_errors import ToolParser, run_tool
from mmdino.visualization.attention_figure import write_figure
from mmdino.visualization.mask_overlay import draw_objects
from mmdino.visualization.media import read_image

TOOLS = Path(__file__).parents[1]
THUMBNAIL = 16
"""Side in pixels of the thumbnails that are compared as they are."""
SHOWN = 4
"""Frames in the figure."""
SMOKE = {"images": 6, "size": 32, "video_size": 64, "videos": 1, "frames": 4}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("checkpoint", help="a checkpoint of mmdino, or any file of weights")
    parser.add_argument("photographs", type=Path, help="folder of photographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for sets and results")
    parser.add_argument("--images", type=positive, default=200, help="photographs to use, at most")
    parser.add_argument("--size", type=positive, default=96, help="of the images, in pixels")
    parser.add_argument("--video-size", type=positive, default=192, help="shorter side of frames")
    parser.add_argument("--videos", type=positive, default=10, help="number of videos")
    parser.add_argument("--frames", type=positive, default=20, help="frames of a video")
    parser.add_argument("--overlay", choices=("gif", "mp4"), help="also draw the videos' masks")
    parser.add_argument("--num-heads", type=int, help="number of heads, if not in the file")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to check that it runs")
    parser.add_argument("--json", type=output_file, help="JSON file to write the results to")
    parser.add_argument("--figure", type=figure_file, help="image of the first video's masks")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Makes the sets, measures and prints."""
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    photographs = images_below(args.photographs, args.images)
    if len(photographs) < 3:
        raise ValueError(f"{args.photographs} has {len(photographs)} images: expected 3 or more.")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise ValueError(f"--out {args.out} is not empty: give a new folder.")
    sets = args.out / "sets"
    half = (len(photographs) + 1) // 2
    write_retrieval(photographs[:half], sets)
    write_copies(photographs[:half], photographs[half:], sets)
    write_videos(photographs, sets, args.videos, args.frames)
    rows = [
        {"network": "trained", **of_network(args, sets, "trained")},
        {"network": "untrained", **of_network(args, sets, "untrained", "--untrained", "0")},
        {"network": "none", **without_network(sets)},
    ]
    print_table(rows, f"{len(photographs)} photographs, {args.videos} videos, percent")
    if args.figure:
        draw_masks(args.out, Path(args.figure))
    if args.json:
        settings = {name: getattr(args, name) for name in SMOKE}
        write_json(args.json, "evaluations", settings, {"evaluations": rows}, argv, "cpu")


def of_network(
    args: argparse.Namespace, sets: Path, name: str, *options: str
) -> dict[str, float | None]:
    """Runs the three tools with a network."""
    if args.num_heads:
        options = (*options, "--num-heads", str(args.num_heads))

    def run(tool: str, *arguments: str | int | Path) -> Mapping[str, Any]:
        out = args.out / name / tool
        command = [args.checkpoint, *arguments, "--out", out, *options]
        runpy.run_path(str(TOOLS / f"{tool}.py"))["main"]([*map(str, command)])
        return json.loads((out / "results.json").read_text(encoding="utf-8"))

    # Starting processes would take longer than reading so few images.
    images = ("--size", args.size, "--workers", 0)
    retrieval = run("eval_retrieval", sets, "--dataset", NAME, *images)
    distractors = ("--distractors", sets / "distractors")
    copies = run("eval_copy", "--copydays", sets / "copydays", *distractors, *images)
    overlay = ("--overlay", args.overlay) if args.overlay else ()
    video = run("eval_video", sets, "--size", args.video_size, *overlay)
    return {
        **{kind: retrieval[kind]["map"] for kind in ("medium", "hard")},
        **{block: of["map"] for block, of in copies["blocks"].items()},
        **{measure: video[measure]["mean"] for measure in ("J", "F")},
    }


def without_network(sets: Path) -> dict[str, float]:
    """Compares thumbnails, and keeps the first mask of each video."""
    truth = read_ground_truth(sets / NAME, NAME)
    ranks = rank(
        *(
            thumbnails([sets / NAME / "jpg" / f"{name}.jpg" for name in names])
            for names in (truth.queries, truth.database)
        )
    )
    kinds = ("medium", "hard")
    found = {k: retrieval_scores(ranks, truth.truth, k).mean_average_precision for k in kinds}
    copies = read_copydays(sets / "copydays")
    database = thumbnails([*copies.originals, *images_below(sets / "distractors")])
    for name, block in copies.blocks.items():
        retrieved = rank(thumbnails(block.images), database)[:RETRIEVED].T
        found[name] = retrieved_average_precision(retrieved, block.originals).mean()
    objects = [of for video in read_videos(sets) for of in kept_in_place(video).values()]
    found["J"] = np.mean([of.region.mean for of in objects])
    found["F"] = np.mean([of.contour.mean for of in objects])
    return {name: 100 * float(value) for name, value in found.items()}


def draw_masks(out: Path, path: Path) -> None:
    """Draws the masks of some frames of the first video, true and predicted."""
    video = read_videos(out / "sets")[0]
    chosen = [video.frames[i * (len(video.frames) - 1) // (SHOWN - 1)] for i in range(SHOWN)]
    folders = {"masks as made": video.masks}
    for name in ("trained", "untrained"):
        folders[name] = out / name / "eval_video" / "masks" / video.name
    figure = Figure(figsize=(2 * SHOWN, 1.6 * len(folders)), layout="constrained")
    grid = figure.subplots(len(folders), SHOWN, squeeze=False)
    for row, (name, folder) in zip(grid, folders.items(), strict=True):
        for axes, frame in zip(row, chosen, strict=True):
            labels = read_labels(folder / f"{frame.stem}.png")
            axes.imshow(draw_objects(read_image(frame), labels))
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{name}, frame {int(frame.stem)}", fontsize=8)
    write_figure(figure, path)


def thumbnails(paths: Sequence[Path]) -> np.ndarray:
    """Returns the pixels of thumbnails, less their mean, as features (N, D)."""
    pixels = np.stack([squeeze(read_image(path), THUMBNAIL).ravel() for path in paths])
    return pixels - pixels.mean(1, keepdims=True, dtype=np.float32)


def kept_in_place(video: Video) -> dict[int, ObjectScores]:
    """Scores the first mask of a video for all of its frames."""
    with tempfile.TemporaryDirectory() as folder:
        for frame in video.frames:
            shutil.copyfile(video.mask(video.frames[0]), Path(folder) / f"{frame.stem}.png")
        return object_scores(video, Path(folder))


if __name__ == "__main__":
    run_tool(main)

"""Segments videos by propagating the first frame's mask, and reports J and F (DAVIS 2017).

python tools/eval_video.py CHECKPOINT data/DAVIS --out work_dirs/davis

Nothing is trained (Caron et al. 2021, section 4.2.2). A second run continues an interrupted one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdino.utils.command_line import check_fps
from mmdino.utils.evaluation_options import (
    add_network_options,
    color_network_from,
    read_results,
    write_results,
)
from mmdino.utils.tool_errors import ToolParser, run_tool

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    import numpy as np

    from mmdino.evaluation.bank_extraction import Evaluated
    from mmdino.evaluation.davis import ObjectScores, Video
    from mmdino.evaluation.label_propagation import Propagation

OPTIONS = ("size", "last_frames", "neighbourhood", "topk", "temperature")


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = ToolParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_network_options(parser)
    parser.add_argument("root", type=Path, help="folder of DAVIS 2017, or of videos in its layout")
    parser.add_argument("--split", default="val", help="list of videos (%(default)s)")
    parser.add_argument("--resolution", default="480p", help="folder of frames (%(default)s)")
    parser.add_argument("--videos", nargs="+", metavar="NAME", help="use only these videos")
    parser.add_argument("--size", type=int, help="shorter side of a frame in pixels (480)")
    parser.add_argument(
        "--last-frames", type=int, help="frames before that labels come from, beside the first (7)"
    )
    parser.add_argument(
        "--neighbourhood", type=int, help="patches that a label may move, 0 for no limit (12)"
    )
    parser.add_argument("--topk", type=int, help="patches that a patch gets labels from (5)")
    parser.add_argument("--temperature", type=float, help="of the similarities (0.1)")
    parser.add_argument(
        "--overlay", choices=("gif", "mp4"), help="also write each video with its masks drawn on it"
    )
    parser.add_argument("--fps", type=float, help="frames per second of the overlays (24)")
    args = parser.parse_args(argv)
    if args.fps is not None and not args.overlay:
        parser.error("--fps is for the overlays: add --overlay gif or mp4")
    if args.fps is not None:
        check_fps(parser, args.fps)
    return args


def main(argv: Sequence[str] | None = None) -> None:
    """Segments, scores and prints."""
    args = parse_args(argv)

    from mmengine.device import get_device

    from mmdino.evaluation.bank_extraction import network_sha256
    from mmdino.evaluation.davis import read_videos
    from mmdino.evaluation.label_propagation import Propagation

    given = {name: getattr(args, name) for name in OPTIONS}
    options = Propagation(**{name: value for name, value in given.items() if value is not None})
    videos = read_videos(args.root, args.split, args.videos, args.resolution)
    evaluated = color_network_from(args)
    settings = {
        "checkpoint": evaluated.checkpoint,
        "network": evaluated.network,
        "network_sha256": network_sha256(evaluated.backbone),
        **{name: getattr(options, name) for name in OPTIONS},
    }
    evaluated.backbone.to(get_device())
    scores = {}
    for number, video in enumerate(videos, 1):
        line = f"[{number}/{len(videos)}] {video.name}"
        scores[video.name] = evaluate(line, video, evaluated, options, settings, args)
        if args.overlay:
            write_overlay(video, args)
    results = {**settings, **summary(scores), "videos": scores}
    write_results(args.out / "results.json", results)
    report(results, sum(map(len, scores.values())))
    print(f"Wrote {args.out / 'results.json'} and the masks in {args.out / 'masks'}.")


def evaluate(
    line: str,
    video: Video,
    evaluated: Evaluated,
    options: Propagation,
    settings: Mapping[str, Any],
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Segments and scores a video, unless that has been done; returns scores by object.

    Raises:
        ValueError: If there are masks of other settings or images, or a frame or mask does not fit.
    """
    from mmdino.evaluation.davis import object_scores

    folder, record = args.out / "masks" / video.name, args.out / "videos" / f"{video.name}.json"
    about, truth = {**settings, **content(video)}, truth_of(video)
    found = None if args.overwrite else finished(record, about, video, args.out)
    if found and found.get("truth") == truth:
        print(f"{line}: done before{text(found['objects'])}")
        return found["objects"]
    # Without it, masks that are replaced only in part are of no settings.
    record.unlink(missing_ok=True)
    how = "segmented before, compared with other masks now"
    if not found:
        how = segment(line, video, evaluated, options, folder)
    objects = {str(number): rounded(of) for number, of in object_scores(video, folder).items()}
    write_results(record, {"settings": about, "truth": truth, "objects": objects})
    print(f"{line}: {how}{text(objects)}", flush=True)
    return objects


def content(video: Video) -> dict[str, Any]:
    """Returns what the predicted masks of a video depend on, wherever its files are."""
    from mmdino.diagnostics.images import content_sha256

    return {
        "frames": [path.name for path in video.frames],
        "frames_sha256": content_sha256(video.frames),
        "first_mask_sha256": content_sha256([video.mask(video.frames[0])]),
    }


def truth_of(video: Video) -> dict[str, Any]:
    """Returns what the scores of a video depend on beside its predicted masks."""
    from mmdino.diagnostics.images import content_sha256

    masks = [video.mask(frame) for frame in video.frames[1:-1]]
    masks = [mask for mask in masks if mask.is_file()]
    return {"masks": [mask.name for mask in masks], "sha256": content_sha256(masks)}


def finished(
    record: Path, about: Mapping[str, Any], video: Video, out: Path
) -> dict[str, Any] | None:
    """Returns the record of a video whose masks are all there, None if it is to be segmented.

    Raises:
        ValueError: If there are masks of other settings or images.
    """
    if not record.is_file():
        return None
    found = read_results(record, ("settings", "objects"))
    require_same(found["settings"], about, out)
    masks = [out / "masks" / video.name / f"{path.stem}.png" for path in video.frames]
    return found if all(mask.is_file() for mask in masks) else None


def segment(
    line: str, video: Video, evaluated: Evaluated, options: Propagation, folder: Path
) -> str:
    """Writes the predicted masks of a video; returns how many, and how fast."""
    import time

    from mmdino.visualization.mask_overlay import write_palette_png

    started = time.monotonic()
    for path, labels in zip(video.frames, labelled(line, video, evaluated, options), strict=True):
        write_palette_png(folder / f"{path.stem}.png", labels)
    rate = len(video.frames) / (time.monotonic() - started)
    return f"{len(video.frames)} frames, {rate:.1f} frames/s"


def labelled(
    line: str, video: Video, evaluated: Evaluated, options: Propagation
) -> Iterator[np.ndarray]:
    """Yields the labels of each frame, and prints how far it is.

    Raises:
        ValueError: If a frame or mask does not fit; names the video.
    """
    from mmdino.evaluation.label_propagation import segment_video
    from mmdino.utils.progress import Progress

    progress = Progress(line, len(video.frames))
    labels = segment_video(evaluated.backbone, video.read(), video.first_labels(), options)
    try:
        for number, of_frame in enumerate(labels, 1):
            yield of_frame
            progress.at(number)
    except ValueError as error:
        raise ValueError(f"Video {video.name}: {error}.".replace("..", ".")) from error


def require_same(found: Mapping[str, Any], wanted: Mapping[str, Any], out: Path) -> None:
    """Checks that a video was segmented as it would be now.

    Raises:
        ValueError: If it was not; names what differs.
    """
    different = [
        name
        for name in wanted
        # A renamed file is still identified by the network's hash.
        if name != "checkpoint" and found.get(name) != wanted[name]
    ]
    if different:
        raise ValueError(
            f"{out} holds results of other settings or images: {', '.join(different)} differ. Give "
            "another --out, or add --overwrite to replace them."
        )


def rounded(scores: ObjectScores) -> dict[str, dict[str, float]]:
    """Returns the scores of an object in percent, as JSON values."""
    return {
        measure: {name: 100 * value for name, value in of._asdict().items()}
        for measure, of in (("J", scores.region), ("F", scores.contour))
    }


def summary(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the means over the objects of all videos; empty if none was scored."""
    objects = [of for video in scores.values() for of in video.values()]
    if not objects:
        return {}
    means = {
        measure: {
            name: sum(of[measure][name] for of in objects) / len(objects)
            for name in ("mean", "recall", "decay")
        }
        for measure in ("J", "F")
    }
    return {**means, "J&F": (means["J"]["mean"] + means["F"]["mean"]) / 2}


def text(objects: Mapping[str, Any]) -> str:
    """Returns the scores of a video for its line."""
    means = summary({"": objects})
    return f", J {means['J']['mean']:.1f}, F {means['F']['mean']:.1f}" if means else ""


def report(results: Mapping[str, Any], objects: int) -> None:
    """Prints the means over objects."""
    if not objects:
        print("No masks to compare with beyond those of first and last frames: nothing is scored.")
        return
    print(f"mean over {objects} object(s): J&F {results['J&F']:.1f}")
    for measure in ("J", "F"):
        of = results[measure]
        print(
            f"  {measure}: mean {of['mean']:.1f}, recall {of['recall']:.1f}, decay "
            f"{of['decay']:.1f}"
        )


def write_overlay(video: Video, args: argparse.Namespace) -> None:
    """Writes a video with its predicted masks drawn on it."""
    from mmdino.evaluation.davis import read_labels
    from mmdino.visualization.mask_overlay import object_frames
    from mmdino.visualization.media import write_animation

    folder = args.out / "masks" / video.name
    labels = (read_labels(folder / f"{path.stem}.png") for path in video.frames)
    path = args.out / "overlays" / f"{video.name}.{args.overlay}"
    # The frame rate of DAVIS.
    write_animation(path, object_frames(video.read(), labels), args.fps or 24)


if __name__ == "__main__":
    run_tool(main)

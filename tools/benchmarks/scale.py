"""What a run needs on many GPUs: hours, cores, disk and network, from measured rates.

Nothing is timed here. The rates come from the other benchmarks, or from the command line:

python tools/benchmarks/scale.py configs/dino_vits16_100ep.py --per-core 290 --per-gpu 106
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, init_default_scope
from torch import nn

from common.report import draw_lines, print_table, write_json
from mmdino.utils.command_line import existing_file

IMAGENET_IMAGES = 1_281_167
BASE_GPUS = 8
"""GPUs that the batch sizes of the configs are meant for."""


@dataclass
class Run:
    """What is to be trained.

    Attributes:
        images: Images of the data set.
        epochs: Passes over it.
        batch_size: Images an optimiser step, on all GPUs together.
        image_bytes: Mean size of an image's file.
        view_bytes: Size of an image's views as they cross to the GPU, 8 bits a channel.
        student_parameters: Trained parameters.
        head_parameters: Those of the student's head.
        all_parameters: Those of student and teacher.
        backward_share: Share of a step that its backward pass takes.
    """

    images: int
    epochs: int
    batch_size: int
    image_bytes: float
    view_bytes: int
    student_parameters: int
    head_parameters: int
    all_parameters: int
    backward_share: float


def hours(run: Run, per_gpu: float, gpus: int) -> float:
    """Hours of training, without validation: all images of all epochs over the rate."""
    return run.images * run.epochs / (per_gpu * gpus) / 3600


def cores(per_gpu: float, gpus: int, per_core: float) -> float:
    """Cores whose views keep the GPUs busy."""
    return per_gpu * gpus / per_core


def ddp_bytes(run: Run, gpus: int) -> float:
    """Bytes that each GPU sends, and receives, a step: gradients in float32, summed in a ring.

    Of n equal pieces, n - 1 are passed on to add them up, and n - 1 to share the sums.
    """
    return 2 * (gpus - 1) / gpus * 4 * run.student_parameters


def fsdp_bytes(run: Run, gpus: int) -> float:
    """Bytes that each GPU sends, and receives, a step where student and teacher are sharded.

    The student's backbone is gathered for each of two view sizes and for the backward pass, its
    head for one forward and the backward pass, the teacher once, and the student's gradients are
    summed into shards: in float32, each time n - 1 of n pieces. Without accumulation.
    """
    teacher = run.all_parameters - run.student_parameters
    moved = 4 * run.student_parameters - run.head_parameters + teacher
    return (gpus - 1) / gpus * 4 * moved


def gigabits_to_hide(sent: float, run: Run, per_gpu: float, gpus: int, share: float = 1) -> float:
    """Network rate of a GPU, in Gbit/s, at which an exchange fits into a share of a step."""
    step_seconds = run.batch_size / (per_gpu * gpus)
    return sent * 8 / (step_seconds * share) / 1e9


def backward_share(tokens: int, teacher_tokens: int) -> float:
    """Share of the backward pass in a step, by the products of matrices alone.

    A token costs one forward pass in the student, about two in its backward pass, and those of the
    global views one in the teacher.

    Args:
        tokens: Tokens of all views of an image.
        teacher_tokens: Tokens of its global views.
    """
    return 2 * tokens / (3 * tokens + teacher_tokens)


def rows(run: Run, per_gpu: float, per_core: float, counts: Iterable[int]) -> list[dict[str, Any]]:
    """Makes the table for one rate of a GPU.

    Args:
        run: What is to be trained.
        per_gpu: Images/s of a GPU's training step.
        per_core: Images/s of the input pipeline on a core.
        counts: Numbers of GPUs.
    """
    return [
        {
            "GPUs": gpus,
            "images/s a GPU": float(per_gpu),
            "hours": hours(run, per_gpu, gpus),
            "cores": cores(per_gpu, gpus, per_core),
            "cores a GPU": cores(per_gpu, 1, per_core),
            "files MB/s": per_gpu * gpus * run.image_bytes / 1e6,
            "views MB/s a GPU": per_gpu * run.view_bytes / 1e6,
            "DDP MB a step": ddp_bytes(run, gpus) / 1e6,
            "DDP Gbit/s a GPU": gigabits_to_hide(
                ddp_bytes(run, gpus), run, per_gpu, gpus, run.backward_share
            ),
            "FSDP Gbit/s a GPU": gigabits_to_hide(fsdp_bytes(run, gpus), run, per_gpu, gpus),
        }
        for gpus in counts
    ]


def read_run(cfg: Config, images: int, image_bytes: float) -> Run:
    """Reads from a pretraining config what is to be trained.

    Args:
        cfg: The config.
        images: Images of the data set.
        image_bytes: Mean size of an image's file.

    Raises:
        ValueError: If its pipeline makes no views, or its backbone has no patches to count.
    """
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    groups = _view_groups(cfg)
    patch = cfg.model.backbone.get("patch_size")
    if patch is None:
        raise ValueError(
            f"The backbone is a {cfg.model.backbone.type} without patch_size. The shares of a step "
            "are counted in tokens; give a config with a ViT."
        )
    tokens = [group.num * (math.prod(side // patch for side in group.size) + 1) for group in groups]
    seen, num_globals = 0, cfg.model.get("num_global_views", 2)
    for group, count in zip(groups, tokens, strict=True):
        if num_globals > 0:
            seen += count
            num_globals -= group.num
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    return Run(
        images=images,
        epochs=cfg.train_cfg.max_epochs,
        batch_size=BASE_GPUS
        * cfg.train_dataloader.batch_size
        * cfg.optim_wrapper.get("accumulative_counts", 1),
        image_bytes=image_bytes,
        view_bytes=sum(group.num * math.prod(group.size) * 3 for group in groups),
        student_parameters=_count(model, trained=True),
        head_parameters=_count(model.head, trained=True),
        all_parameters=_count(model, trained=False),
        backward_share=backward_share(sum(tokens), seen),
    )


def _view_groups(cfg: Config) -> Sequence[Any]:
    for step in cfg.train_dataloader.dataset.pipeline:
        if step["type"] == "mmdino.MultiCropTransform":
            return TRANSFORMS.build(dict(step)).groups
    raise ValueError(
        "The config's train pipeline has no mmdino.MultiCropTransform; give one that pretrains."
    )


def _count(model: nn.Module, trained: bool) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trained)


def read_rate(path: str, case: str) -> float:
    """Reads the images/s of a case from the JSON of another benchmark, the last if it has several.

    Args:
        path: What the benchmark wrote.
        case: Name of the row.

    Raises:
        ValueError: If no row of that name has images/s.
    """
    content: Mapping[str, Any] = json.loads(Path(existing_file(path, "benchmark")).read_text())
    found = {
        row["case"]: row["images/s"]
        for table in content["tables"].values()
        for row in table
        if "case" in row and "images/s" in row
    }
    if case not in found:
        raise ValueError(f"{path} has no images/s of {case!r}; it has those of {sorted(found)}.")
    return float(found[case])


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="pretraining config; its batch is that of 8 GPUs")
    core = parser.add_mutually_exclusive_group(required=True)
    core.add_argument("--per-core", type=float, help="images/s of the pipeline on one core")
    core.add_argument(
        "--pipeline", nargs=2, metavar=("JSON", "CASE"), help="the same, from pipeline.py --json"
    )
    gpu = parser.add_mutually_exclusive_group(required=True)
    gpu.add_argument("--per-gpu", type=float, nargs="+", help="images/s of the step on one GPU")
    gpu.add_argument(
        "--step", nargs=2, metavar=("JSON", "CASE"), help="the same, from step.py --json"
    )
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64], help="numbers of GPUs")
    parser.add_argument("--epochs", type=int, help="by default the config's")
    parser.add_argument("--images", type=int, default=IMAGENET_IMAGES, help="of the data set")
    parser.add_argument(
        "--image-bytes", type=float, default=110e3, help="mean size of a file; ImageNet's is 110 kB"
    )
    parser.add_argument("--json", help="file that the figures are written to")
    parser.add_argument("--figure", help="picture that is drawn: hours by number of GPUs")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Computes, prints, writes and draws.

    Raises:
        ValueError: If a number is not positive.
    """
    args = parse_args(argv)
    per_core = read_rate(*args.pipeline) if args.pipeline else args.per_core
    per_gpus = [read_rate(*args.step)] if args.step else args.per_gpu
    numbers = [per_core, *per_gpus, *args.gpus, args.images, args.image_bytes]
    if args.epochs is not None:
        numbers.append(args.epochs)
    if min(numbers) <= 0:
        raise ValueError(f"All rates and numbers must be above 0, but {min(numbers)} came.")
    cfg = Config.fromfile(existing_file(args.config, "config", "The shipped ones are in configs/."))
    run = read_run(cfg, args.images, args.image_bytes)
    if args.epochs is not None:
        run.epochs = args.epochs
    print(
        f"{run.epochs} epochs of {run.images} images in batches of {run.batch_size}; "
        f"{run.student_parameters / 1e6:.1f} M trained of {run.all_parameters / 1e6:.1f} M "
        f"parameters; {run.view_bytes / 1e3:.0f} kB of views an image; the backward pass takes "
        f"{run.backward_share:.0%} of a step; {per_core:.4g} images/s a core."
    )
    tables = {}
    for per_gpu in per_gpus:
        title = f"{per_gpu:.4g} images/s a GPU"
        tables[title] = rows(run, per_gpu, per_core, args.gpus)
        print_table(tables[title], title)
    if args.figure:
        series = {
            title: [(row["GPUs"], row["hours"]) for row in table] for title, table in tables.items()
        }
        draw_lines(args.figure, series, "GPUs", "hours", f"{run.epochs} epochs")
    if args.json:
        write_json(args.json, "scale", {**asdict(run), "per_core": per_core}, tables, argv)


if __name__ == "__main__":
    main()

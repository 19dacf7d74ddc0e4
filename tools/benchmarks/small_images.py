"""Times whole training runs on images of CIFAR-10's size against loops as one writes them.

python tools/benchmarks/small_images.py --images data/cifar10/train. Ours is dino_vitt4_cifar10.py
as mmengine's Runner trains it, with its hooks. It is compared with the step of plain_step.py on
views by Pillow and torchvision, and with the loop of lightly's example for DINO, with lightly's
views, head and loss, where lightly is installed. All load in the process that trains, and train the
same network on the same images, with the same groups of views (lightly's may solarise the second
group alone, as the config does). The times are those of the processor, for an epoch.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from common.dino_step import DTYPES
from common.lightly_views import LightlyImages, views_of
from common.options import SMOKE_MODEL, benchmark_parser, positive, use_machine
from common.plain_step import LR, MOMENTUM, WEIGHT_DECAY, PlainStep, PlainVisionTransformer
from common.report import draw_bars, print_table, timing_rows, write_json
from common.timing import Timing, turns
from common.view_chains import PILLOW
from common.view_loader import Photographs, draw_photographs
from mmdino.models import DINO
from mmdino.utils.tool_errors import run_tool

CONFIG = Path(__file__).parents[2] / "configs" / "dino_vitt4_cifar10.py"
OURS, PLAIN, LIGHTLY = "mmdino", f"plain step, {PILLOW}", "lightly's example"
OUR_VIEWS, PLAIN_VIEWS = "views alone, mmdino", f"views alone, {PILLOW}"
TARGET = 1.5
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}
SMOKE = {"steps": 2, "batch": 2, "rounds": 1}


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = benchmark_parser(__doc__, rounds=5)
    parser.add_argument("--images", default="data/cifar10/train", help="folder of small images")
    parser.add_argument("--batch", type=positive, default=64, help="images per step")
    parser.add_argument("--steps", type=positive, default=15, help="steps of a round")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="fp32", help="of autocast")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints, writes and draws.

    Raises:
        FileNotFoundError: If there are no images.
        ValueError: If there are too few images, or the device is no CPU.
    """
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    if args.device != "cpu":
        raise ValueError(f"invalid --device {args.device}: the time measured is the processor's.")
    use_machine(args)
    cv2.setNumThreads(1)
    init_default_scope("mmpretrain")
    with tempfile.TemporaryDirectory() as folder:
        if args.smoke:
            draw_photographs(Path(folder))
            args.images = folder
        rows = measure(args)
    print_table(
        rows,
        f"{args.steps} steps of {args.batch} images, {CONFIG.stem}, {args.dtype}, "
        f"{torch.get_num_threads()} thread(s), processor time. Target: {LIGHTLY} takes at least "
        f"{TARGET:g} x as long as {OURS}.",
    )
    if LIGHTLY not in [row["case"] for row in rows]:
        print("\nlightly is not installed and was skipped.")
    if args.json:
        write_json(args.json, "small_images", vars(args), {"epochs": rows}, argv)
    if args.figure:
        draw_bars(args.figure, rows, "Training on small images")


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs the cases in alternating rounds and returns a row for each."""
    count = args.steps * args.batch
    dataset = DATASETS.build(
        {"type": "mmdino.ImageFolder", "data_root": args.images, "pipeline": []}
    )
    if len(dataset) < count:
        raise ValueError(
            f"{args.images!r} has {len(dataset)} image(s), but --steps {args.steps} of --batch "
            f"{args.batch} need {count}. Lower one, or give more images."
        )
    images = [dataset.get_data_info(index)["img_path"] for index in range(count)]
    config = our_config(args)
    model = MODELS.build(config.model)
    plain_loader = loader(Photographs(images, f"{PILLOW}, uint8", views_of(config)), args)
    cases: dict[str, Callable[[], float]] = {
        OURS: lambda: our_epoch(config),
        PLAIN: plain_epoch(model, plain_loader, args),
    }
    if find_spec("lightly"):
        cases[LIGHTLY] = lightly_epoch(model, images, config, args)
    our_loader = Runner.build_dataloader(config.train_dataloader, seed=0)
    cases[OUR_VIEWS] = lambda: seconds_of_epoch(our_loader, lambda batch: None, args.steps)
    cases[PLAIN_VIEWS] = lambda: seconds_of_epoch(plain_loader, lambda batch: None, args.steps)
    timings: dict[str, Timing] = {name: Timing([]) for name in cases}
    for number in range(-1, args.rounds):
        for name in turns(cases, number):
            seconds = cases[name]()
            # The first round warms up.
            if number >= 0:
                timings[name].seconds.append(seconds)
    rows = timing_rows(timings, OURS, images=count)
    for row in rows:
        row["x mmdino"] = row.pop("x baseline")
    return rows


def seconds_of_epoch(batches: DataLoader, step: Callable[[Any], Any], steps: int) -> float:
    """Runs a step on each of the first batches; returns the seconds of the processor."""
    start = time.process_time()
    for _, batch in zip(range(steps), batches, strict=False):
        step(batch)
    return time.process_time() - start


def our_config(args: argparse.Namespace) -> Config:
    """Returns the config of our run: that of the file, for one epoch and without validation."""
    config = Config.fromfile(CONFIG)
    config.merge_from_dict(
        {
            "train_dataloader.batch_size": args.batch,
            "train_dataloader.num_workers": 0,
            "train_dataloader.persistent_workers": False,
            "train_dataloader.dataset.data_root": args.images,
            "train_dataloader.dataset.indices": args.steps * args.batch,
            "train_cfg.max_epochs": 1,
            "train_cfg.val_at_start": False,
            "optim_wrapper.precision": PRECISIONS[args.dtype],
            "default_hooks.checkpoint": None,
            "log_level": "ERROR",
        }
    )
    if args.smoke:
        config.merge_from_dict(
            {
                "model.backbone.arch": SMOKE_MODEL["arch"],
                "model.head.in_channels": SMOKE_MODEL["arch"]["embed_dims"],
                "model.head.out_channels": SMOKE_MODEL["prototypes"],
            }
        )
    for name in ("val_cfg", "val_dataloader", "val_evaluator"):
        config.pop(name)
    config.train_cfg.pop("val_interval")
    return config


class EpochClock(Hook):
    """Measures the seconds of the processor that an epoch takes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def before_train_epoch(self, runner: Runner) -> None:
        """Starts the clock."""
        self.start = time.process_time()

    def after_train_epoch(self, runner: Runner) -> None:
        """Stops it."""
        self.seconds = time.process_time() - self.start


def our_epoch(config: Config) -> float:
    """Trains for an epoch with mmengine's Runner; returns the seconds of the processor."""
    with tempfile.TemporaryDirectory() as work_dir:
        config = Config({**config, "work_dir": work_dir})
        # A second runner of a name would be the first one.
        config.experiment_name = f"small_images_{time.monotonic_ns()}"
        runner = Runner.from_cfg(config)
        clock = EpochClock()
        # Before all others at the start, and after all others at the end.
        runner.register_hook(clock, priority="LOWEST")
        runner.train()
        for handler in logging.getLogger(runner.logger.name).handlers:
            handler.close()
    return clock.seconds


def plain_epoch(model: DINO, batches: DataLoader, args: argparse.Namespace) -> Callable[[], float]:
    """Returns a function that trains for an epoch with the plain step."""
    step = PlainStep(model, DTYPES[args.dtype])
    return lambda: seconds_of_epoch(batches, lambda batch: step(batch["inputs"]), args.steps)


def loader(images: Any, args: argparse.Namespace) -> DataLoader:
    """Returns a loader of batches that loads in this process."""
    return DataLoader(images, args.batch, drop_last=True)


def lightly_epoch(
    model: DINO, paths: Sequence[str], config: Config, args: argparse.Namespace
) -> Callable[[], float]:
    """Returns a function that trains for an epoch as lightly's example for DINO does.

    The network is the plain one, which on a CPU is faster than one with torch's fused attention.
    """
    from lightly.loss import DINOLoss
    from lightly.models.modules import DINOProjectionHead
    from lightly.models.utils import deactivate_requires_grad, update_momentum

    head = config.model.head
    student, teacher = (
        nn.ModuleList(
            [
                PlainVisionTransformer(model.backbone),
                DINOProjectionHead(
                    head.in_channels,
                    head.hidden_channels,
                    head.bottleneck_channels,
                    head.out_channels,
                    freeze_last_layer=freeze,
                ),
            ]
        )
        for freeze in (1, -1)
    )
    deactivate_requires_grad(teacher)
    criterion = DINOLoss(output_dim=head.out_channels, warmup_teacher_temp_epochs=5)
    optimizer = torch.optim.AdamW(student.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    dtype = DTYPES[args.dtype]

    def step(views: list[torch.Tensor]) -> None:
        for fast, slow in zip(student, teacher, strict=True):
            update_momentum(fast, slow, m=MOMENTUM)
        with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            with torch.no_grad():
                teacher_out = [teacher[1](teacher[0](view)) for view in views[:2]]
            student_out = [student[1](student[0](view)) for view in views]
            loss = criterion(teacher_out, student_out, epoch=0)
        loss.backward()
        student[1].cancel_last_layer_gradients(current_epoch=0)
        optimizer.step()
        optimizer.zero_grad()

    batches = loader(LightlyImages(paths, views_of(config)), args)
    return lambda: seconds_of_epoch(batches, step, args.steps)


if __name__ == "__main__":
    run_tool(main)

"""Trains the network of a config as others train it, and reports k-NN: what ours is compared with.

python tools/benchmarks/small_images_knn.py configs/dino_resnet18_cifar10.py --minutes 40. Network,
images, sizes of views and the sets of k-NN are those of the config, the rest is others':

- lightly: its views, and the head, loss and hyperparameters of its benchmark on CIFAR-10.
- reference: views by Pillow and torchvision, and the head and the loss of DINO's authors, in the
  sizes of the config, in the same loop.

The rate falls by a cosine over the time, which does not count k-NN: on a CPU the processor time,
with a loader in the process, and on a GPU the time elapsed, with --workers to load. Ours is
tools/compare.py CONFIG --minutes 40, or on a GPU tools/train.py CONFIG, whose log has the time.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import cv2
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from common.dino_step import DTYPES
from common.lightly_views import LightlyImages, views_of
from common.options import benchmark_parser, not_negative, positive, use_machine
from common.plain_step import PlainHead, move_one_by_one, per_pair_loss
from common.report import draw_lines, print_table, write_json
from common.view_chains import PILLOW
from common.view_loader import Photographs
from mmdino.comparison.measuring import features_of
from mmdino.evaluation.features import BackboneModel, feature_of
from mmdino.evaluation.knn import knn_accuracy
from mmdino.models.layers import at_least_float32
from mmdino.utils.options_action import OptionsAction
from mmdino.utils.tool_errors import run_tool

LIGHTLY, REFERENCE = "lightly", "reference"
HIDDEN, BOTTLENECK, PROTOTYPES = 2048, 256, 2048
"""Sizes of lightly's head in its benchmark on CIFAR-10, which has two layers."""
LR, BASE_BATCH, SGD_MOMENTUM, WEIGHT_DECAY, MOMENTUM = 0.06, 128, 0.9, 5e-4, 0.99
"""The rate for a batch, and the other hyperparameters of that benchmark."""
ADAM_LR = 1e-3
"""The rate of lightly's example with a ViT."""
CENTER_MOMENTUM = 0.9
"""Of the authors' loss."""
PARTS = 4
"""Parts of the time after each of which k-NN is measured."""
SMOKE = {"minutes": 0.02, "batch": 2}

Loss = Callable[[list[Tensor], list[Tensor]], Tensor]
Parts = tuple[list[nn.Module], Loss, Dataset]
"""Heads of student and teacher, the loss of their logits, and the views of the images."""


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = benchmark_parser(__doc__, rounds=None)
    parser.add_argument("config", help="config of DINO on small images")
    parser.add_argument(
        "--minutes",
        type=float,
        default=40,
        help="time of a case: of the processor, or elapsed on a GPU",
    )
    parser.add_argument(
        "--workers", type=not_negative, default=0, help="processes that load images, on a GPU"
    )
    parser.add_argument("--batch", type=positive, default=BASE_BATCH, help="images per step")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16", help="of autocast")
    parser.add_argument(
        "--optimizer",
        choices=("sgd", "adam"),
        default="sgd",
        help="that of lightly's benchmark, or that of its example with a ViT",
    )
    parser.add_argument(
        "--cases",
        nargs="+",
        choices=(REFERENCE, LIGHTLY),
        default=[REFERENCE, LIGHTLY],
        help="what to train; to run both at a time, start each alone",
    )
    parser.add_argument("--seed", type=int, default=0, help="of weights, views and order")
    parser.add_argument(
        "--cfg-options", nargs="+", action=OptionsAction, default={}, help="changes to the config"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Trains, prints and writes.

    Raises:
        ValueError: If there are fewer images than a batch, the time is not positive, workers are
            asked for on a CPU, or lightly alone is asked for and not installed.
    """
    args = parser().parse_args(argv)
    if args.smoke:
        vars(args).update(SMOKE)
    if args.device == "cpu" and args.workers:
        raise ValueError(
            f"invalid --workers {args.workers} with --device cpu: the time measured is that of "
            "this process. Leave them out."
        )
    if not args.minutes > 0:
        raise ValueError(f"invalid --minutes {args.minutes:g}: expected more than 0.")
    use_machine(args)
    cv2.setNumThreads(1)
    init_default_scope("mmpretrain")
    config = Config.fromfile(args.config)
    config.merge_from_dict(args.cfg_options)
    parts = {REFERENCE: reference_parts}
    if find_spec("lightly"):
        parts[LIGHTLY] = lightly_parts
    names = [name for name in args.cases if name in parts]
    if not names:
        raise ValueError("lightly is not installed: pip install lightly")
    rows = []
    for name in names:
        for row in run(parts[name], config, args):
            rows.append({"case": name, **row})
            print(f"{name}: {row['minutes']:.1f} of {args.minutes:g} minutes", flush=True)
    print_table(
        rows,
        f"{args.config}, batch {args.batch}, {args.dtype}, {args.device}, "
        f"{torch.get_num_threads()} thread(s), {args.workers} worker(s), {time_of(args.device)}",
    )
    if LIGHTLY not in parts:
        print("\nlightly is not installed and was skipped.")
    if args.json:
        write_json(args.json, "small_images_knn", vars(args), {"knn": rows}, argv, args.device)
    if args.figure:
        draw_curves(args.figure, rows, time_of(args.device))


def time_of(device: str) -> str:
    """Returns the name of the time that is measured on a device."""
    return "processor time" if device == "cpu" else "elapsed time"


def draw_curves(path: str, rows: Sequence[dict[str, Any]], time_name: str) -> None:
    """Draws the highest k-NN accuracy of each network of each case against the time."""
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for network in ("student", "teacher"):
            highest = max(value for name, value in row.items() if name.startswith(network))
            series.setdefault(f"{row['case']}, {network}", []).append((row["minutes"], highest))
    draw_lines(path, series, f"{time_name} (minutes)", "k-NN top-1 (%)")


def run(
    case: Callable[[nn.Module, Config, list[str]], Parts], config: Config, args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Trains a case; yields a row after each part of the time."""
    torch.manual_seed(args.seed)
    model = MODELS.build(config.model).to(args.device)
    paths = image_paths(config, args.batch)
    heads, loss, images = case(model, config, paths)
    for head in heads:
        head.to(args.device)
    loader = DataLoader(
        images,
        args.batch,
        sampler=RandomSampler(paths),
        drop_last=True,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
        pin_memory=args.device != "cpu",
    )
    batches = endless(loader, args.device)
    student = nn.ModuleList([model.backbone, heads[0]]).train()
    teacher = nn.ModuleList([copy.deepcopy(model.backbone), heads[1]]).requires_grad_(False)
    teacher.load_state_dict(student.state_dict())
    optimizer = optimizer_for(student, args)
    base_lr = optimizer.param_groups[0]["lr"]
    seen, used, budget = 0, 0.0, 60 * args.minutes
    dtype = DTYPES[args.dtype]
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    start = clock()
    for part in range(1, PARTS + 1):
        while used < budget * part / PARTS:
            optimizer.param_groups[0]["lr"] = base_lr * (1 + math.cos(math.pi * used / budget)) / 2
            train_step(student, teacher, next(batches), loss, optimizer, dtype)
            seen += args.batch
            used = clock() - start
        if args.device != "cpu":
            # Steps that the host has asked for and the GPU has not done count too.
            torch.cuda.synchronize()
            used = clock() - start
        accuracies = {
            name: knn_of(network[0], model.data_preprocessor, config, dtype is not None)
            for name, network in (("student", student), ("teacher", teacher))
        }
        yield {
            "minutes": used / 60,
            "images": seen,
            **{
                f"{name}, {k}-NN": top1
                for name, accuracy in accuracies.items()
                for k, top1 in accuracy.items()
            },
        }
        start = clock() - used


def image_paths(config: Config, batch: int) -> list[str]:
    """Returns the paths of the config's training images."""
    dataset = DATASETS.build({**config.train_dataloader.dataset, "pipeline": []})
    if len(dataset) < batch:
        raise ValueError(
            f"{dataset.data_root!r} has {len(dataset)} image(s), but --batch is {batch}. Lower it, "
            "or give more images."
        )
    return [dataset.get_data_info(index)["img_path"] for index in range(len(dataset))]


def endless(batches: DataLoader, device: str) -> Iterator[list[Tensor]]:
    """Yields the views of batches, in another order each time through the images."""
    while True:
        for batch in batches:
            views = batch["inputs"] if isinstance(batch, dict) else batch
            yield [view.to(device, non_blocking=True) for view in views]


def lightly_parts(model: nn.Module, config: Config, paths: list[str]) -> Parts:
    """Returns two heads of lightly, of the two layers of its benchmark, its loss and its views."""
    from lightly.loss import DINOLoss
    from lightly.models.modules import DINOProjectionHead

    width = config.model.head.in_channels
    heads = [
        DINOProjectionHead(width, HIDDEN, BOTTLENECK, PROTOTYPES, batch_norm=True) for _ in range(2)
    ]
    for head in heads:
        head.layers = nn.Sequential(
            nn.Linear(width, HIDDEN, bias=False),
            nn.BatchNorm1d(HIDDEN),
            nn.GELU(),
            nn.Linear(HIDDEN, BOTTLENECK),
        )
    loss = DINOLoss(output_dim=PROTOTYPES).to(next(model.parameters()).device)
    return heads, loss, LightlyImages(paths, views_of(config))


def reference_parts(model: nn.Module, config: Config, paths: list[str]) -> Parts:
    """Returns two heads of DINO's authors in the sizes of the config, their loss and views."""
    device = next(model.parameters()).device
    center = torch.zeros(1, config.model.head.out_channels, device=device)

    def loss(teacher_logits: list[Tensor], student_logits: list[Tensor]) -> Tensor:
        targets = at_least_float32(torch.cat(teacher_logits))
        logits = at_least_float32(torch.cat(student_logits))
        value = per_pair_loss(logits, targets, center, len(student_logits))
        center.lerp_(targets.mean(0, keepdim=True), 1 - CENTER_MOMENTUM)
        return value

    heads = [PlainHead(model.head) for _ in range(2)]
    return heads, loss, Photographs(paths, PILLOW, views_of(config))


def optimizer_for(student: nn.Module, args: argparse.Namespace) -> torch.optim.Optimizer:
    """Returns the optimiser of the parameters that are trained."""
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    if args.optimizer == "adam":
        return torch.optim.Adam(trained, lr=ADAM_LR)
    lr = LR * args.batch / BASE_BATCH
    return torch.optim.SGD(trained, lr=lr, momentum=SGD_MOMENTUM, weight_decay=WEIGHT_DECAY)


def train_step(
    student: nn.ModuleList,
    teacher: nn.ModuleList,
    views: list[Tensor],
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    dtype: torch.dtype | None,
) -> None:
    """Moves the teacher and trains on a batch of views, in lightly's order."""
    move_one_by_one(list(teacher.parameters()), list(student.parameters()), MOMENTUM)
    with torch.autocast(views[0].device.type, dtype=dtype, enabled=dtype is not None):
        with torch.no_grad():
            targets = [teacher[1](feature_of(teacher[0], view)) for view in views[:2]]
        logits = [student[1](feature_of(student[0], view)) for view in views]
        value = loss(targets, logits)
    value.backward()
    optimizer.step()
    optimizer.zero_grad()


def knn_of(
    backbone: nn.Module, preprocessor: nn.Module, config: Config, amp: bool
) -> dict[int, float]:
    """Returns top-1 in percent for the k of the config, on its bank and queries."""
    model = BackboneModel(backbone)
    model.data_preprocessor = preprocessor
    training = backbone.training
    model.eval()
    loaders = (config.val_dataloader, config.val_cfg.bank_dataloader)
    sets = [
        torch.from_numpy(part) for loader in loaders for part in features_of(model, loader, amp)
    ]
    backbone.train(training)
    options = config.val_evaluator
    accuracies = knn_accuracy(*sets, tuple(options.k), options.temperature)
    return {k: top1 for k, (top1, _) in accuracies.items()}


if __name__ == "__main__":
    run_tool(main)

"""Measures how many images a second one core turns into views, beside the usual ways to do it.

python tools/benchmarks/pipeline.py --images DIR. With --workers 1 2 4 it measures as well how
images/s grows with the data loader's workers, and --figure draws that.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope
from PIL import Image, ImageFilter
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from mmdino.benchmark import (
    Timing,
    benchmark_parser,
    compare,
    draw_lines,
    print_table,
    timing_rows,
    use_threads,
    write_json,
)
from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.datasets.transforms.view_group import PAPER_VIEWS, ViewGroup, parse_view_groups
from mmdino.datasets.transforms.view_ops import draw_crop_box, resize_crop
from mmdino.models.preprocessors.multi_view_preprocessor import IMAGENET_MEAN, IMAGENET_STD
from mmdino.visualization.media import list_images

OURS = "mmdino"
SEQUENTIAL = "mmdino, sequential colours"
PILLOW = "Pillow + torchvision"
ALBUMENTATIONS = "Albumentations"
LIMIT = "decode + antialiased resize"
TARGETS = {PILLOW: 6.0, ALBUMENTATIONS: 1.15}
MEAN, STD = ([value / 255 for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))


def mmdino_chain(**options: Any) -> Callable[[str], Any]:
    """Loads, makes views and packs them as the pretraining configs do."""
    pipeline = Compose(
        [
            dict(type="LoadImageFromFile"),
            dict(type="mmdino.MultiCropTransform", **options),
            dict(type="mmdino.PackViews"),
        ]
    )
    # Each call another seed, as in training.
    seeds = iter(range(1 << 62))

    def run(path: str) -> Any:
        seed = next(seeds)
        return pipeline(dict(img_path=path, sample_idx=SeededIndex(seed, (0, 0, seed))))

    return run


def pillow_chain(groups: Sequence[ViewGroup], normalise: bool) -> Callable[[str], Any]:
    """The paper's chain in its own terms; to uint8 tensors, or to normalised ones as there."""
    views = [pillow_view(group, normalise) for group in groups for _ in range(group.num)]

    def run(path: str) -> list[torch.Tensor]:
        with Image.open(path) as file:
            image = file.convert("RGB")
        return [view(image) for view in views]

    return run


def pillow_view(group: ViewGroup, normalise: bool) -> Callable[[Image.Image], torch.Tensor]:
    """Makes one view of a Pillow image."""
    size, bicubic = list(group.size), transforms.InterpolationMode.BICUBIC
    amounts = group.brightness, group.contrast, group.saturation, group.hue
    steps = [
        transforms.RandomResizedCrop(size, group.scale, group.ratio, interpolation=bicubic),
        transforms.RandomHorizontalFlip(group.flip_prob),
        transforms.RandomApply([transforms.ColorJitter(*amounts)], group.jitter_prob),
        transforms.RandomGrayscale(group.gray_prob),
        partial(_pillow_blur, group),
    ]
    if group.solarize_prob:
        steps.append(transforms.RandomSolarize(group.solarize_threshold, group.solarize_prob))
    if normalise:
        steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    else:
        steps.append(transforms.PILToTensor())
    return transforms.Compose(steps)


def _pillow_blur(group: ViewGroup, image: Image.Image) -> Image.Image:
    if random.random() >= group.blur_prob:
        return image
    return image.filter(ImageFilter.GaussianBlur(random.uniform(*group.blur_sigma)))


def albumentations_chain(groups: Sequence[ViewGroup], normalise: bool) -> Callable[[str], Any]:
    """The same chain in Albumentations 2, whose resize is OpenCV's cubic and not antialiased."""
    # Importing it would ask the network for a newer version.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as alb
    from albumentations.pytorch import ToTensorV2

    def view(group: ViewGroup) -> Callable[..., dict]:
        brightness, contrast, saturation = (
            (max(0.0, 1 - amount), 1 + amount)
            for amount in (group.brightness, group.contrast, group.saturation)
        )
        steps = [
            alb.RandomResizedCrop(
                group.size, group.scale, group.ratio, interpolation=cv2.INTER_CUBIC
            ),
            alb.HorizontalFlip(p=group.flip_prob),
            alb.ColorJitter(
                brightness, contrast, saturation, (-group.hue, group.hue), p=group.jitter_prob
            ),
            alb.ToGray(p=group.gray_prob),
            alb.GaussianBlur(blur_limit=0, sigma_limit=group.blur_sigma, p=group.blur_prob),
        ]
        if group.solarize_prob:
            threshold = group.solarize_threshold / 255
            steps.append(alb.Solarize((threshold, threshold), p=group.solarize_prob))
        if normalise:
            steps.append(alb.Normalize(MEAN, STD))
        return alb.Compose([*steps, ToTensorV2()])

    views = [view(group) for group in groups for _ in range(group.num)]

    def run(path: str) -> list[torch.Tensor]:
        image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        return [view(image=image)["image"] for view in views]

    return run


def decode(path: str) -> np.ndarray:
    """Decodes a photograph as ``LoadImageFromFile`` does."""
    return cv2.imread(path)


def decode_and_resize(groups: Sequence[ViewGroup]) -> Callable[[str], Any]:
    """Decodes and makes the antialiased crops of all views, nothing else."""
    rng = np.random.default_rng(0)

    def run(path: str) -> list[np.ndarray]:
        image = decode(path)
        height, width = image.shape[:2]
        return [
            resize_crop(
                image, draw_crop_box(rng, height, width, group.scale, group.ratio), group.size
            )
            for group in groups
            for _ in range(group.num)
        ]

    return run


def chains() -> dict[str, Callable[[str], Any]]:
    """Returns what is compared, by name; each makes the default views of a photograph."""
    groups = parse_view_groups(PAPER_VIEWS)
    cases = {
        OURS: mmdino_chain(),
        SEQUENTIAL: mmdino_chain(color="sequential"),
        PILLOW: pillow_chain(groups, normalise=True),
        f"{PILLOW}, uint8": pillow_chain(groups, normalise=False),
    }
    if find_spec("albumentations"):
        cases[ALBUMENTATIONS] = albumentations_chain(groups, normalise=False)
        cases[f"{ALBUMENTATIONS}, normalised"] = albumentations_chain(groups, normalise=True)
    cases["decode"] = decode
    cases[LIMIT] = decode_and_resize(groups)
    return cases


def target_rows(timings: dict[str, Timing]) -> list[dict[str, Any]]:
    """Compares with what the project aims at."""
    rows = []
    for chain in (OURS, SEQUENTIAL):
        for baseline, target in TARGETS.items():
            if baseline in timings:
                times_as_fast = 1 / timings[chain].ratio_to(timings[baseline])
                reached = "yes" if times_as_fast >= target else "no"
                row = {"chain": chain, "speed against": baseline, "measured": times_as_fast}
                rows.append({**row, "target": target, "reached": reached})
        share = 1 / timings[chain].ratio_to(timings[LIMIT])
        row = {"chain": chain, "speed against": LIMIT, "measured": share}
        rows.append({**row, "target": 1.0, "reached": "limit"})
    return rows


class Photographs(Dataset):
    """Views of photographs, over and over.

    Args:
        paths: Files.
        chain: Name of the chain that makes the views.
        length: Number of samples.
    """

    def __init__(self, paths: Sequence[str], chain: str, length: int) -> None:
        self.paths = paths
        self.chain = chain
        self.length = length
        self._make: Callable[[str], Any] | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        if self._make is None:
            init_default_scope("mmpretrain")
            _one_thread()
            self._make = chains()[self.chain]
        views = self._make(self.paths[index % len(self.paths)])
        return views["inputs"] if isinstance(views, dict) else views


def images_per_second(paths: Sequence[str], chain: str, workers: int, seconds: float) -> float:
    """Measures a data loader from its first batch on, when all workers are at work.

    Args:
        paths: Files.
        chain: Name of the chain that makes the views.
        workers: Processes that make them.
        seconds: About how long to measure.
    """
    batch_size = 16
    dataset = Photographs(paths, chain, 1 << 30)
    loader = DataLoader(dataset, batch_size, num_workers=workers)
    batches: Iterator = iter(loader)
    # The first batches were made while processes were starting.
    for _ in range(2 * workers):
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(batches)
        count += batch_size
    rate = count / (time.perf_counter() - start)
    del batches
    return rate


def worker_rows(
    paths: Sequence[str], workers: Iterable[int], seconds: float
) -> list[dict[str, Any]]:
    """Measures images/s for numbers of workers."""
    rows = []
    for number in workers:
        row: dict[str, Any] = {"workers": number}
        for chain in (OURS, PILLOW):
            row[chain] = images_per_second(paths, chain, number, seconds)
        row["x baseline"] = row[OURS] / row[PILLOW]
        rows.append(row)
    return rows


def run_all(make: Callable[[str], Any], paths: Sequence[str]) -> None:
    """Makes the views of each photograph."""
    for path in paths:
        make(path)


def draw_photographs(folder: Path) -> None:
    """Writes four small pictures, for a trial without photographs."""
    rng = np.random.default_rng(0)
    for index in range(4):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.jpg"), cv2.resize(coarse, (160, 120)))


def _one_thread() -> None:
    use_threads(1)
    cv2.setNumThreads(1)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints, writes and draws.

    Raises:
        FileNotFoundError: If there are no photographs.
        ValueError: If a number is below 1.
    """
    parser = benchmark_parser(__doc__, rounds=10)
    parser.add_argument(
        "--images", default="data/imagenet_sample", help="folder of photographs, of ImageNet's size"
    )
    parser.add_argument("--count", type=int, default=32, help="photographs a round")
    parser.add_argument("--workers", type=int, nargs="*", default=[], help="numbers of workers")
    parser.add_argument("--seconds", type=float, default=10.0, help="time a number of workers")
    args = parser.parse_args(argv)
    if min([args.count, *args.workers]) < 1 or not args.seconds > 0:
        raise ValueError(
            f"--count {args.count}, --workers {args.workers} and --seconds {args.seconds} must be "
            "above 0."
        )
    init_default_scope("mmpretrain")
    _one_thread()
    with tempfile.TemporaryDirectory() as folder:
        if args.smoke:
            draw_photographs(Path(folder))
            args.images, args.rounds, args.seconds = folder, min(args.rounds, 2), 0.1
        measure(args, argv)


def measure(args: Any, argv: Sequence[str] | None) -> None:
    """Does what :func:`main` was asked for."""
    files = [str(path) for path in list_images(args.images)]
    # Spread over the folder, which may be sorted by class.
    paths = files[:: max(1, len(files) // args.count)][: args.count]
    cases = {name: partial(run_all, make, paths) for name, make in chains().items()}
    timings = compare(cases, args.rounds)
    tables = {
        "images": timing_rows(timings, PILLOW, LIMIT, len(paths)),
        "targets": target_rows(timings),
    }
    print_table(tables["images"], f"{len(paths)} photographs a round, one thread")
    print_table(tables["targets"], "Times as fast")
    if ALBUMENTATIONS not in timings:
        print("\nAlbumentations is not installed and was left out.")
    if args.workers:
        tables["workers"] = worker_rows(files, args.workers, args.seconds)
        print_table(tables["workers"], "Images/s of a data loader")
    if args.figure:
        series = {
            chain: [(row["workers"], row[chain]) for row in tables.get("workers", [])]
            for chain in (OURS, PILLOW)
        }
        draw_lines(args.figure, series, "workers", "images/s", "Views of photographs")
    if args.json:
        settings = {"photographs": len(paths), "rounds": args.rounds, "views": list(PAPER_VIEWS)}
        write_json(args.json, "pipeline", settings, tables, argv)


if __name__ == "__main__":
    main()

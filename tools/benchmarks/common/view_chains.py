"""Chains that make the views of a photograph: this project's, and the usual ones to compare."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import Compose
from PIL import Image, ImageFilter
from torchvision import transforms

from common.options import use_threads
from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.datasets.transforms.views.group import PAPER_VIEWS, ViewGroup, parse_view_groups
from mmdino.datasets.transforms.views.ops import draw_crop_box, resize_crop
from mmdino.models.preprocessors.multi_view_preprocessor import IMAGENET_MEAN, IMAGENET_STD

OURS = "mmdino"
SEQUENTIAL = "mmdino, sequential colours"
PILLOW = "Pillow + torchvision"
ALBUMENTATIONS = "Albumentations"
LIMIT = "decode + antialiased resize"
MEAN, STD = ([value / 255 for value in values] for values in (IMAGENET_MEAN, IMAGENET_STD))


def mmdino_chain(**options: Any) -> Callable[[str], Any]:
    """Loads an image, makes views and packs them as in the pretraining configs for ImageNet."""
    pipeline = Compose(
        [
            dict(type="LoadImageFromFile"),
            dict(type="mmdino.MultiCropTransform", **options),
            dict(type="mmdino.PackViews"),
        ]
    )
    # A new seed for each call, as in training.
    seeds = iter(range(1 << 62))

    def run(path: str) -> Any:
        seed = next(seeds)
        return pipeline(dict(img_path=path, sample_idx=SeededIndex(seed, (0, 0, seed))))

    return run


def pillow_chain(groups: Sequence[ViewGroup], normalise: bool) -> Callable[[str], Any]:
    """The paper's chain in Pillow and torchvision; gives normalised tensors, or uint8."""
    views = [pillow_view(group, normalise) for group in groups for _ in range(group.num)]

    def run(path: str) -> list[torch.Tensor]:
        with Image.open(path) as file:
            image = file.convert("RGB")
        return [view(image) for view in views]

    return run


def pillow_view(group: ViewGroup, normalise: bool) -> Callable[[Image.Image], torch.Tensor]:
    """Returns a function that makes one view of a Pillow image."""
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
    """The paper's chain in Albumentations 2, whose resize is OpenCV's cubic, not antialiased."""
    # Importing it would check for a newer version over the network.
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
    """Only decodes and makes the antialiased crops of all views."""
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


def chains(
    views: Sequence[Mapping] = PAPER_VIEWS, names: Collection[str] | None = None
) -> dict[str, Callable[[str], Any]]:
    """Returns the chains to compare, by name; each maps a path to the views of its photograph.

    Args:
        views: View groups as of ``MultiCropTransform``.
        names: Chains to build; None for all whose packages are installed.
    """
    groups = parse_view_groups(views)
    makers: dict[str, Callable[[], Callable[[str], Any]]] = {
        OURS: partial(mmdino_chain, views=views, color="fused"),
        SEQUENTIAL: partial(mmdino_chain, views=views),
        PILLOW: partial(pillow_chain, groups, normalise=True),
        f"{PILLOW}, uint8": partial(pillow_chain, groups, normalise=False),
    }
    if find_spec("albumentations"):
        makers[ALBUMENTATIONS] = partial(albumentations_chain, groups, normalise=False)
        makers[f"{ALBUMENTATIONS}, normalised"] = partial(
            albumentations_chain, groups, normalise=True
        )
    makers["decode"] = lambda: decode
    makers[LIMIT] = partial(decode_and_resize, groups)
    return {name: make() for name, make in makers.items() if names is None or name in names}


def one_thread() -> None:
    """Restricts torch and OpenCV to one thread."""
    use_threads(1)
    cv2.setNumThreads(1)

"""Views have the distribution of the paper's augmentations in Pillow and torchvision."""

from __future__ import annotations

import random

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torchvision import transforms

from common.view_statistics import FAR, deviates, view_statistics
from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.datasets.transforms import MultiCropTransform

VIEWS = 2000
PHOTOS = 20
GROUP = dict(num=VIEWS // PHOTOS, size=24, scale=(0.2, 1.0), blur_prob=0.5, solarize_prob=0.2)


def draw_photo(seed: int) -> np.ndarray:
    """Draws an image with the colour statistics of photographs: low chroma."""
    rng = np.random.default_rng(seed)

    def structure(*shape):
        noise = rng.standard_normal((60, 80, *shape)).astype(np.float32)
        fine = cv2.GaussianBlur(noise, (0, 0), 1.5)
        coarse = cv2.GaussianBlur(noise, (0, 0), 8)
        return fine / fine.std() + coarse / coarse.std()

    light = rng.normal(115, 20) + 40 * structure()[..., None]
    tint = rng.normal(0, 10, 3) + 6 * structure(3) + (-14, 0, 14)
    return (light + tint - tint.mean()).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    return [draw_photo(seed) for seed in range(PHOTOS)]


def draw_views(photos, color="fused", **change) -> np.ndarray:
    transform = MultiCropTransform([{**GROUP, **change}], color=color)
    samples = (
        {"img": photo, "sample_idx": SeededIndex(i, (0, i))} for i, photo in enumerate(photos)
    )
    return np.concatenate([transform(sample)["img"] for sample in samples])


def blur(image: Image.Image) -> Image.Image:
    if random.random() >= GROUP["blur_prob"]:
        return image
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


@pytest.fixture(scope="module")
def papers(photos) -> np.ndarray:
    """Statistics of the views of the paper's augmentations."""
    bicubic = transforms.InterpolationMode.BICUBIC
    chain = transforms.Compose(
        [
            transforms.RandomResizedCrop(GROUP["size"], GROUP["scale"], interpolation=bicubic),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
            transforms.RandomGrayscale(0.2),
            blur,
            transforms.RandomSolarize(128, GROUP["solarize_prob"]),
        ]
    )
    random.seed(0)
    torch.manual_seed(0)
    images = [Image.fromarray(photo[..., ::-1].copy()) for photo in photos]
    views = [chain(image) for image in images for _ in range(GROUP["num"])]
    return statistics(np.stack([np.asarray(view)[..., ::-1] for view in views]))


def statistics(views: np.ndarray) -> np.ndarray:
    """Returns the statistics of each view, (photos, views, statistics)."""
    return np.stack([view_statistics(part) for part in np.split(views, PHOTOS)])


def test_fused_and_sequential_views_are_distributed_as_the_papers(photos, papers):
    fused, sequential = (statistics(draw_views(photos, c)) for c in ("fused", "sequential"))
    assert fused.shape == papers.shape
    assert deviates(sequential, papers).max() < FAR
    assert deviates(fused, papers).max() < FAR
    assert deviates(fused, sequential).max() < FAR


@pytest.mark.parametrize(
    "change",
    [
        {"hue": 0.2},
        {"contrast": 0.2},
        {"brightness": 0.6},
        {"saturation": 1.0},
        {"gray_prob": 0.1},
        {"blur_prob": 0.3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_distribution_is_detected(photos, papers, change):
    assert deviates(statistics(draw_views(photos, **change)), papers).max() > FAR

"""What networks make of some images: attention, principal components and nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.registry import DATASETS, init_default_scope
from torch import nn

from mmdino.diagnostics.images import crop_and_resize, even_batches, find_images
from mmdino.engine.hooks.training_figure_hook import first_views
from mmdino.evaluation.attention import attention_maps
from mmdino.evaluation.features import feature_of
from mmdino.evaluation.image_input import TRAINED_SIZE, network_input, viewing_size
from mmdino.evaluation.knn import nearest_neighbours
from mmdino.evaluation.pca import fit_pca, load_map_backbone, patch_map, patch_stride
from mmdino.report.work_dir import Run, SavedCheckpoint
from mmdino.visualization import displayable
from mmdino.visualization.attention_figure import colorize
from mmdino.visualization.media import read_image
from mmdino.weights.networks import load_backbone, untrained_like

NO_DATA = (OSError, ValueError, KeyError, TypeError, ImportError)
"""What a data set of a config raises where its images, or its classes, are not on this machine."""
BATCH = 32


class Images(NamedTuple):
    """Images to look at.

    Attributes:
        pixels: Images (H, W, 3) uint8, RGB, of one shape.
        names: Their names.
        labels: Their classes; empty if they have none.
        source: Where they are from, in words.
    """

    pixels: Sequence[np.ndarray]
    names: Sequence[str]
    labels: Sequence[int]
    source: str


class Maps(NamedTuple):
    """What a network sees in some images.

    Attributes:
        when: The time in the run, such as "epoch 10".
        attention: For each image the attention of the class token, its mean over the heads of the
            last block, as colours (h, w, 3) uint8; empty if the network has none.
        components: For each image the first three principal components of its patch features, as
            colours (h, w, 3) uint8.
    """

    when: str
    attention: Sequence[np.ndarray]
    components: Sequence[np.ndarray]


class Neighbours(NamedTuple):
    """The nearest images of some images.

    Attributes:
        when: The time in the run.
        index: (Q, k) Positions of the neighbours, the nearest first.
        similarity: (Q, k) Their cosine similarities.
    """

    when: str
    index: np.ndarray
    similarity: np.ndarray


def folder_images(folder: Path, count: int, side: int) -> Images:
    """Reads images of a folder, evenly spaced, as squares.

    Args:
        folder: The folder, or an image.
        count: Most images.
        side: Side of the squares in pixels.

    Raises:
        FileNotFoundError: If it does not exist, or there is no image.
        ValueError: If an image cannot be read.
    """
    paths = find_images(folder, count)
    pixels = [crop_and_resize(read_image(path), (side, side)) for path in paths]
    names = [path.name for path in paths]
    return Images(pixels, names, (), f"{len(paths)} images of {folder.resolve().name}")


def validation_images(config: Mapping[str, Any], count: int) -> Images:
    """Reads the first images of a config's validation data.

    Args:
        config: The config.
        count: Most images.

    Raises:
        ValueError: If the config has no such data.
        OSError: If the data is not there.
    """
    dataset = _build(config, "val_dataloader")
    # Spread over the set, whose images may be in the order of their classes.
    taken = min(count, len(dataset))
    samples = [dataset[index * len(dataset) // taken] for index in range(taken)]
    bgr = _is_bgr(config)
    pixels = [displayable(sample["inputs"].numpy(), bgr) for sample in samples]
    pixels = [image if image.ndim == 3 else np.repeat(image[..., None], 3, 2) for image in pixels]
    shape = pixels[0].shape[:2]
    same = [image if image.shape[:2] == shape else crop_and_resize(image, shape) for image in pixels]
    info = [sample["data_samples"] for sample in samples]
    names = [Path(str(sample.get("img_path", index))).name for index, sample in enumerate(info)]
    labels = [int(sample.gt_label) for sample in info if "gt_label" in sample]
    kind = config["val_dataloader"]["dataset"].get("type", "data set")
    source = f"{taken} of the {len(dataset):,} images of the validation ({kind})"
    return Images(same, names, labels if len(labels) == taken else (), source)


def training_views(config: Mapping[str, Any], count: int) -> list[list[np.ndarray]]:
    """Draws the views of a config's first training images.

    Args:
        config: The config.
        count: Number of images.

    Returns:
        For each image its views, (H, W, 3) or (H, W), uint8.

    Raises:
        ValueError: If the config has no such data.
        OSError: If the data is not there.
    """
    dataset = _build(config, "train_dataloader")
    taken = min(count, len(dataset))
    with torch.random.fork_rng(devices=[]):
        samples = [dataset[index * len(dataset) // taken]["inputs"] for index in range(taken)]
    samples = [views if isinstance(views, (list, tuple)) else [views] for views in samples]
    by_view = [list(views) for views in zip(*samples, strict=True)]
    return first_views(by_view, taken, _is_bgr(config))


def _build(config: Mapping[str, Any], loader: str) -> Any:
    """Builds the data set of a loader in a config."""
    init_default_scope("mmpretrain")
    dataset = (config.get(loader) or {}).get("dataset")
    if not isinstance(dataset, Mapping) or "type" not in dataset:
        raise ValueError(f"the config has no {loader}")
    built = DATASETS.build(dict(dataset))
    if not len(built):
        raise ValueError(f"the data set of the {loader} is empty")
    return built


def _is_bgr(config: Mapping[str, Any]) -> bool:
    model = config.get("model") or {}
    preprocessor = model.get("data_preprocessor") or config.get("data_preprocessor") or {}
    return preprocessor.get("bgr_to_rgb", True) is not False


def image_side(checkpoint: SavedCheckpoint) -> int:
    """Returns the side of the images that the network of a checkpoint was trained on."""
    return min(getattr(load_map_backbone(checkpoint.path), "img_size", (TRAINED_SIZE,)))


def evenly(checkpoints: Sequence[SavedCheckpoint], most: int) -> list[SavedCheckpoint]:
    """Chooses checkpoints over the whole run, the first and the last among them."""
    taken = min(len(checkpoints), most)
    return [checkpoints[round(i * (len(checkpoints) - 1) / max(taken - 1, 1))] for i in range(taken)]


def maps_of_run(
    run: Run, images: Images, count: int, most: int, device: torch.device
) -> Iterator[Maps]:
    """Yields the maps of the untrained network and of a run's checkpoints.

    Args:
        run: The run, with one checkpoint at least.
        images: The images, of which the first are shown.
        count: Number of images.
        most: Most checkpoints.
        device: Device to compute on.

    Raises:
        ValueError: If the networks do not take such images, or their features are not finite.
    """
    shown = images.pixels[:count]
    for number, checkpoint in enumerate(evenly(run.checkpoints, most)):
        backbone = load_map_backbone(checkpoint.path).to(device)
        if number == 0:
            yield maps_of(untrained_like(backbone), shown, "untrained")
        yield maps_of(backbone, shown, run.when(checkpoint.iteration))


def maps_of(backbone: nn.Module, images: Sequence[np.ndarray], when: str) -> Maps:
    """Computes the maps of images.

    Args:
        backbone: Result of :func:`~mmdino.evaluation.pca.load_map_backbone`.
        images: Images (H, W, 3) uint8, RGB.
        when: The time in the run.

    Raises:
        ValueError: If the network does not take such images, or its features are not finite.
    """
    sizes = [viewing_size(backbone, image) for image in images]
    attention = []
    if hasattr(backbone, "class_token_attention"):
        for image, size in zip(images, sizes, strict=True):
            heat = attention_maps(backbone, image, size).mean(0).numpy()
            attention.append(colorize(heat / max(heat.max(), np.finfo(heat.dtype).tiny)))
    features = [patch_map(backbone, image, size) for image, size in zip(images, sizes, strict=True)]
    pca = fit_pca(features)
    colors = [(255 * pca.colors(each)).round().byte().numpy() for each in features]
    return Maps(when, attention, colors)


def neighbours_of_run(
    run: Run, images: Images, queries: int, k: int, device: torch.device
) -> Iterator[Neighbours]:
    """Yields the neighbours in the features of the newest checkpoint, and before training.

    Args:
        run: The run, with one checkpoint at least.
        images: The images; the first ask, all others can be found.
        queries: Number of images that ask.
        k: Number of neighbours.
        device: Device to compute on.

    Raises:
        ValueError: If the network does not take such images, or its features are not finite.
    """
    newest = run.checkpoints[-1]
    backbone = load_backbone(newest.path).to(device)
    yield neighbours_of(backbone, images, queries, k, run.when(newest.iteration))
    yield neighbours_of(untrained_like(backbone), images, queries, k, "untrained")


def neighbours_of(
    backbone: nn.Module, images: Images, queries: int, k: int, when: str
) -> Neighbours:
    """Finds the nearest images of the first ``queries`` images among all others.

    Raises:
        ValueError: If the network does not take such images, or its features are not finite.
    """
    weight, parts = next(backbone.parameters()), []
    with torch.no_grad():
        for batch in even_batches(images.pixels, BATCH):
            inputs = [network_input(image, patch_stride(backbone), None, weight) for image in batch]
            parts.append(feature_of(backbone, torch.cat(inputs)).float())
    bank = torch.cat(parts)
    queries, k = min(queries, len(bank)), min(k, len(bank) - 1)
    similarity, index = nearest_neighbours(bank[:queries], bank, k + 1)
    # An image is its own nearest neighbour, unless a copy of it ties with it.
    itself = torch.arange(queries, device=index.device)[:, None]
    others = (index != itself).int().argsort(dim=1, descending=True, stable=True)[:, :k]
    return Neighbours(
        when, index.gather(1, others).cpu().numpy(), similarity.gather(1, others).cpu().numpy()
    )

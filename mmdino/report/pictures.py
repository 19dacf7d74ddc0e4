"""What networks make of some images: attention, principal components and nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.registry import DATASETS, init_default_scope
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmdino.diagnostics.images import crop_and_resize, even_batches, find_images
from mmdino.engine.hooks.training_figure_hook import first_views
from mmdino.evaluation.attention import attention_maps
from mmdino.evaluation.features import feature_of
from mmdino.evaluation.image_input import TRAINED_SIZE, network_input, viewing_size
from mmdino.evaluation.knn import nearest_others
from mmdino.evaluation.pca import fit_pca, load_map_backbone, patch_map
from mmdino.models.selfsup.base import patch_stride
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

    def first(self, count: int) -> Images:
        """Returns the first images alone."""
        return self._replace(
            pixels=self.pixels[:count], names=self.names[:count], labels=self.labels[:count]
        )


class Maps(NamedTuple):
    """What a network sees in some images.

    Attributes:
        iteration: Iterations of training done; 0 for an untrained network.
        attention: For each image the attention of the class token, its mean over the heads of the
            last block, as colours (h, w, 3) uint8; empty if the network has none.
        components: For each image the first three principal components of its patch features, as
            colours (h, w, 3) uint8.
    """

    iteration: int
    attention: Sequence[np.ndarray]
    components: Sequence[np.ndarray]


class Neighbours(NamedTuple):
    """The nearest images of some images.

    Attributes:
        iteration: Iterations of training done; 0 for an untrained network.
        index: (Q, k) Positions of the neighbours, the nearest first.
        similarity: (Q, k) Their cosine similarities.
    """

    iteration: int
    index: np.ndarray
    similarity: np.ndarray


def folder_images(folder: Path, count: int, side: int) -> Images:
    """Reads images of a folder and of those in it, chosen by :func:`chosen`, as squares.

    Args:
        folder: The folder, or an image.
        count: Most images.
        side: Side of the squares in pixels.

    Raises:
        FileNotFoundError: If it does not exist, or there is no image.
        ValueError: If an image cannot be read.
    """
    found = find_images(folder)
    paths = [found[index] for index in chosen(len(found), count)]
    pixels = [crop_and_resize(read_image(path), (side, side)) for path in paths]
    names = [path.name for path in paths]
    return Images(
        pixels, names, (), f"{len(paths):,} of the {len(found):,} images of {folder.resolve().name}"
    )


def chosen(total: int, count: int) -> list[int]:
    """Draws ``count`` different positions, or all; the first ones may be of one class."""
    return np.random.default_rng(0).permutation(total)[:count].tolist()


def images_of(dataset: Dataset, count: int, bgr: bool) -> Images:
    """Reads images of a data set for evaluation, chosen by :func:`chosen`.

    Args:
        dataset: The data set, whose samples are ``inputs`` (C, H, W) and ``data_samples``. If they
            are views, as in a validation without labels, whole images are read in their place.
        count: Most images.
        bgr: Whether three channels are in the order blue, green, red.

    Raises:
        ValueError: If the samples are no images.
        OSError: If an image is not there.
    """
    taken = chosen(len(dataset), count)
    samples = [dataset[index] for index in taken]
    samples = [
        _whole(dataset, index, sample) if _has_views(sample) else sample
        for index, sample in zip(taken, samples, strict=True)
    ]
    if not all(
        isinstance(sample, Mapping) and isinstance(sample.get("inputs"), Tensor)
        for sample in samples
    ):
        raise ValueError("the samples of the validation have no inputs (C, H, W)")
    pixels = [displayable(sample["inputs"].numpy(), bgr) for sample in samples]
    pixels = [image if image.ndim == 3 else np.repeat(image[..., None], 3, 2) for image in pixels]
    shape = pixels[0].shape[:2]
    same = [
        image if image.shape[:2] == shape else crop_and_resize(image, shape) for image in pixels
    ]
    info = [sample.get("data_samples") or {} for sample in samples]
    names = [Path(str(sample.get("img_path", index))).name for index, sample in enumerate(info)]
    classes = [sample.get("gt_label") for sample in info]
    # An image of several classes counts as one without.
    labels = [int(label) for label in classes if label is not None and label.numel() == 1]
    source = f"{len(samples):,} of the {len(dataset):,} images of the validation"
    return Images(same, names, labels if len(labels) == len(samples) else (), source)


def _has_views(sample: Any) -> bool:
    views = sample.get("inputs") if isinstance(sample, Mapping) else None
    return isinstance(views, (list, tuple)) and bool(views) and isinstance(views[0], Tensor)


def _whole(dataset: Dataset, index: int, sample: dict) -> dict:
    """Returns a sample with its image, as large as the first view, in place of its views.

    The sample itself, if the data set is none of mmpretrain's with a step that loads images.
    """
    pipeline = getattr(dataset, "pipeline", None)
    loaded = dataset.get_data_info(index) if hasattr(dataset, "get_data_info") else {}
    for transform in getattr(pipeline, "transforms", ()):
        loaded = transform(loaded)
        if loaded is None or "img" in loaded:
            break
    image = (loaded or {}).get("img")
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        return sample
    image = image if image.ndim == 3 else image[..., None]
    shape = tuple(sample["inputs"][0].shape[1:])
    # In the order of its channels, as inputs are.
    shown = crop_and_resize(displayable(np.moveaxis(image, 2, 0), bgr=False), shape)
    shown = shown if shown.ndim == 3 else shown[..., None]
    return {**sample, "inputs": torch.from_numpy(np.moveaxis(shown, 2, 0).copy())}


def views_of(dataset: Dataset, count: int, bgr: bool) -> list[list[np.ndarray]]:
    """Draws the views of images of a training set, chosen by :func:`chosen`.

    Args:
        dataset: The data set, whose samples have the views as ``inputs``.
        count: Number of images.
        bgr: Whether three channels are in the order blue, green, red.

    Returns:
        For each image its views, (H, W, 3) or (H, W), uint8.

    Raises:
        OSError: If an image is not there.
    """
    samples = [dataset[index]["inputs"] for index in chosen(len(dataset), count)]
    samples = [views if isinstance(views, (list, tuple)) else [views] for views in samples]
    by_view = [list(views) for views in zip(*samples, strict=True)]
    return first_views(by_view, count, bgr)


def build_dataset(config: Mapping[str, Any], loader: str) -> Dataset:
    """Builds the data set of a loader in a config.

    Args:
        config: The config.
        loader: Such as "val_dataloader".

    Raises:
        ValueError: If the config has none, or it is empty.
        OSError: If the data is not there.
    """
    init_default_scope("mmpretrain")
    dataset = (config.get(loader) or {}).get("dataset")
    if not isinstance(dataset, Mapping) or "type" not in dataset:
        raise ValueError(f"the config has no {loader}")
    built = DATASETS.build(dict(dataset))
    if not len(built):
        raise ValueError(f"the data set of the {loader} is empty")
    return built


def is_bgr(config: Mapping[str, Any]) -> bool:
    """Returns whether the images of a config are in the order blue, green, red."""
    model = config.get("model") or {}
    preprocessor = model.get("data_preprocessor") or config.get("data_preprocessor") or {}
    return preprocessor.get("bgr_to_rgb", True) is not False


def image_side(checkpoint: SavedCheckpoint) -> int:
    """Returns the side of the images that the network of a checkpoint was trained on."""
    return min(getattr(load_map_backbone(checkpoint.path), "img_size", (TRAINED_SIZE,)))


def evenly(checkpoints: Sequence[SavedCheckpoint], most: int) -> list[SavedCheckpoint]:
    """Chooses checkpoints over the whole run, the first and the last among them."""
    taken = min(len(checkpoints), most)
    return [
        checkpoints[round(i * (len(checkpoints) - 1) / max(taken - 1, 1))] for i in range(taken)
    ]


def maps_of_run(run: Run, images: Images, most: int, device: torch.device) -> Iterator[Maps]:
    """Yields the maps of the untrained network and of a run's checkpoints.

    Args:
        run: The run, with one checkpoint at least.
        images: The images.
        most: Most checkpoints.
        device: Device to compute on.

    Raises:
        ValueError: If the networks do not take such images, or their features are not finite.
    """
    for number, checkpoint in enumerate(evenly(run.checkpoints, most)):
        backbone = load_map_backbone(checkpoint.path).to(device)
        if number == 0:
            yield maps_of(untrained_like(backbone), images.pixels, 0)
        yield maps_of(backbone, images.pixels, checkpoint.iteration)


def maps_of(backbone: nn.Module, images: Sequence[np.ndarray], iteration: int) -> Maps:
    """Computes the maps of images.

    Args:
        backbone: Result of :func:`~mmdino.evaluation.pca.load_map_backbone`.
        images: Images (H, W, 3) uint8, RGB.
        iteration: Iterations of training done.

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
    return Maps(iteration, attention, colors)


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
    yield neighbours_of(backbone, images, queries, k, newest.iteration)
    yield neighbours_of(untrained_like(backbone), images, queries, k, 0)


def neighbours_of(
    backbone: nn.Module, images: Images, queries: int, k: int, iteration: int
) -> Neighbours:
    """Finds the nearest images of the first ``queries`` images among all others.

    Raises:
        ValueError: If the network does not take such images, or its features are not finite.
    """
    weight, parts = next(backbone.parameters()), []
    patch, _ = patch_stride(backbone)
    with torch.no_grad():
        for batch in even_batches(images.pixels, BATCH):
            inputs = [network_input(image, patch, None, weight) for image in batch]
            parts.append(feature_of(backbone, torch.cat(inputs)).float())
    bank = torch.cat(parts)
    queries, k = min(queries, len(bank)), min(k, len(bank) - 1)
    similarity, index = nearest_others(bank, k, queries)
    return Neighbours(iteration, index.cpu().numpy(), similarity.cpu().numpy())

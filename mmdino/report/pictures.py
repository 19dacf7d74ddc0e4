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

from mmdino.datasets.image_folder import ImageFolder
from mmdino.diagnostics.images import crop_and_resize, even_batches, find_images
from mmdino.engine.hooks.training_figure_hook import first_views
from mmdino.evaluation.attention import attention_maps
from mmdino.evaluation.bank_images import evaluation_pipeline
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.features import feature_of
from mmdino.evaluation.image_input import (
    IMAGENET,
    TRAINED_SIZE,
    Statistics,
    network_input,
    viewing_size,
)
from mmdino.evaluation.knn import nearest_others
from mmdino.evaluation.pca import fit_pca, map_backbone, patch_map
from mmdino.evaluation.stored_input import stored_input, stored_statistics
from mmdino.models.preprocessors.multi_view_preprocessor import LEVELS_16_TO_8
from mmdino.models.selfsup.base import patch_stride
from mmdino.report.work_dir import Run, SavedCheckpoint
from mmdino.utils.printable import printable
from mmdino.visualization import displayable, shown_levels
from mmdino.visualization.attention_figure import colorize
from mmdino.visualization.media import read_image
from mmdino.weights.networks import (
    backbone_weights,
    build_backbone,
    untrained_like,
)

NO_DATA = (OSError, ValueError, KeyError, TypeError, ImportError)
"""What a data set of a config raises where its images, or its classes, are not on this machine."""
BATCH = 32


class Images(NamedTuple):
    """Images to look at.

    Attributes:
        pixels: Images (H, W, 3) uint8, RGB, of one shape, as they are shown.
        names: Their names.
        labels: Their classes; empty if they have none.
        source: Where they are from, in words.
        levels: Where images are not of 8 bits and three colours, what networks look at: (H, W, C)
            uint8 or float32, 0 to 255.
    """

    pixels: Sequence[np.ndarray]
    names: Sequence[str]
    labels: Sequence[int]
    source: str
    levels: Sequence[np.ndarray] = ()

    @property
    def inputs(self) -> Sequence[np.ndarray]:
        """What networks look at."""
        return self.levels or self.pixels

    def first(self, count: int) -> Images:
        """Returns the first images alone."""
        return self._replace(
            pixels=self.pixels[:count],
            names=self.names[:count],
            labels=self.labels[:count],
            levels=self.levels[:count],
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


def folder_images(folder: Path, count: int, checkpoint: SavedCheckpoint) -> Images:
    """Reads images of a folder and of those in it, chosen by :func:`chosen`, as squares.

    Args:
        folder: The folder; or an image, where the run read images in colour.
        count: Most images.
        checkpoint: Of the network that is to see them, which says their size, and how its run read
            images that are not in colour.

    Raises:
        FileNotFoundError: If it does not exist, or there is no image.
        ValueError: If an image cannot be read, or the checkpoint has no such network.
    """
    weights = backbone_weights(checkpoint.path)
    backbone = map_backbone(weights, str(checkpoint.path))
    side = min(getattr(backbone, "img_size", (TRAINED_SIZE,)))
    stored = stored_input(weights.meta)
    if not stored.is_color:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{printable(folder)!r} is no folder: expected one of images as the run read them."
            )
        *steps, _ = evaluation_pipeline(ExtractionOptions(side, side), stored)
        dataset = ImageFolder(
            str(folder), pipeline=steps, extensions=stored.extensions, test_mode=True
        )
        images = images_of(dataset, count, stored.bgr_to_rgb)
        return images._replace(source=_drawn(len(images.names), len(dataset), folder))
    found = find_images(folder)
    paths = [found[index] for index in chosen(len(found), count)]
    pixels = [crop_and_resize(read_image(path), (side, side)) for path in paths]
    names = [path.name for path in paths]
    return Images(pixels, names, (), _drawn(len(paths), len(found), folder))


def _drawn(count: int, total: int, folder: Path) -> str:
    return f"{count:,} of the {total:,} images of {folder.resolve().name}"


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
    arrays = [_levels(sample["inputs"], bgr) for sample in samples]
    shape = arrays[0].shape[:2]
    arrays = [each if each.shape[:2] == shape else crop_and_resize(each, shape) for each in arrays]
    views = [np.moveaxis(each, 2, 0) for each in arrays]
    pixels = [displayable(view, bgr=False, levels=shown_levels([view])) for view in views]
    pixels = [image if image.ndim == 3 else np.repeat(image[..., None], 3, 2) for image in pixels]
    in_color = all(each.shape[2] == 3 and each.dtype == np.uint8 for each in arrays)
    info = [sample.get("data_samples") or {} for sample in samples]
    names = [Path(str(sample.get("img_path", index))).name for index, sample in enumerate(info)]
    classes = [sample.get("gt_label") for sample in info]
    # An image of several classes counts as one without.
    labels = [int(label) for label in classes if label is not None and label.numel() == 1]
    source = f"{len(samples):,} of the {len(dataset):,} images of the validation"
    labels = labels if len(labels) == len(samples) else ()
    return Images(pixels, names, labels, source, () if in_color else arrays)


def _levels(inputs: Tensor, bgr: bool) -> np.ndarray:
    """Returns an image (C, H, W) as (H, W, C) uint8 or float32, 0 to 255, colours in RGB."""
    if inputs.dtype == torch.uint16:
        inputs = inputs.float() / LEVELS_16_TO_8
    elif inputs.dtype != torch.uint8:
        inputs = inputs.float()
    if bgr and len(inputs) == 3:
        inputs = inputs.flip(0)
    return np.ascontiguousarray(inputs.permute(1, 2, 0).numpy())


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
    # In the order of its channels, as inputs are.
    levels = _levels(torch.from_numpy(np.moveaxis(image, 2, 0).copy()), bgr=False)
    whole = crop_and_resize(levels, tuple(sample["inputs"][0].shape[1:]))
    return {**sample, "inputs": torch.from_numpy(np.moveaxis(whole, 2, 0).copy())}


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


def evenly(checkpoints: Sequence[SavedCheckpoint], most: int) -> list[SavedCheckpoint]:
    """Chooses checkpoints over the whole run, the first and the last among them."""
    taken = min(len(checkpoints), most)
    return [
        checkpoints[round(i * (len(checkpoints) - 1) / max(taken - 1, 1))] for i in range(taken)
    ]


def map_network(checkpoint: SavedCheckpoint) -> tuple[nn.Module, Statistics]:
    """Loads the network of a checkpoint whose output is a map, and how its images are normalised.

    Raises:
        ValueError: If it has no such network.
    """
    weights = backbone_weights(checkpoint.path)
    return map_backbone(weights, str(checkpoint.path)), stored_statistics(weights.meta)


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
        backbone, statistics = map_network(checkpoint)
        backbone.to(device)
        if number == 0:
            yield maps_of(untrained_like(backbone), images.inputs, 0, statistics)
        yield maps_of(backbone, images.inputs, checkpoint.iteration, statistics)


def maps_of(
    backbone: nn.Module,
    images: Sequence[np.ndarray],
    iteration: int,
    statistics: Statistics = IMAGENET,
) -> Maps:
    """Computes the maps of images.

    Args:
        backbone: Result of :func:`~mmdino.evaluation.pca.map_backbone`.
        images: Images (H, W, C) uint8 or float32, 0 to 255; colours in RGB.
        iteration: Iterations of training done.
        statistics: Of the C channels.

    Raises:
        ValueError: If the network does not take such images, or its features are not finite.
    """
    sizes = [viewing_size(backbone, image) for image in images]
    attention = []
    if hasattr(backbone, "class_token_attention"):
        for image, size in zip(images, sizes, strict=True):
            heat = attention_maps(backbone, image, size, statistics).mean(0).numpy()
            attention.append(colorize(heat / max(heat.max(), np.finfo(heat.dtype).tiny)))
    features = [
        patch_map(backbone, image, size, statistics)
        for image, size in zip(images, sizes, strict=True)
    ]
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
    weights = backbone_weights(newest.path)
    statistics = stored_statistics(weights.meta)
    backbone = build_backbone(weights.config, weights.state_dict, str(newest.path)).to(device)
    yield neighbours_of(backbone, images, queries, k, newest.iteration, statistics)
    yield neighbours_of(untrained_like(backbone), images, queries, k, 0, statistics)


def neighbours_of(
    backbone: nn.Module,
    images: Images,
    queries: int,
    k: int,
    iteration: int,
    statistics: Statistics = IMAGENET,
) -> Neighbours:
    """Finds the nearest images of the first ``queries`` images among all others.

    Args:
        backbone: The network.
        images: The images.
        queries: Number of images that ask.
        k: Number of neighbours.
        iteration: Iterations of training done.
        statistics: Of the channels of the images.

    Raises:
        ValueError: If the network does not take such images, or its features are not finite.
    """
    weight, parts = next(backbone.parameters()), []
    patch, _ = patch_stride(backbone)
    with torch.no_grad():
        for batch in even_batches(images.inputs, BATCH):
            inputs = [network_input(image, patch, None, weight, statistics) for image in batch]
            parts.append(feature_of(backbone, torch.cat(inputs)).float())
    bank = torch.cat(parts)
    queries, k = min(queries, len(bank)), min(k, len(bank) - 1)
    similarity, index = nearest_others(bank, k, queries)
    return Neighbours(iteration, index.cpu().numpy(), similarity.cpu().numpy())

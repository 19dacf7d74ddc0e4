"""Trained classifiers, and their loss and accuracy on fixed images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmpretrain.registry import DATASETS, MODELS
from torch import Tensor, nn

from mmdino.diagnostics.images import even_batches
from mmdino.weights.checks import state_dict_of
from mmdino.weights.files import read_checkpoint
from mmdino.weights.matching import compare


class LossAndAccuracy(NamedTuple):
    """What a classifier reaches on images."""

    loss: float
    accuracy: float
    """Percent."""


def load_classifier(cfg: Mapping[str, Any], checkpoint: str) -> nn.Module:
    """Builds the classifier of a config with the weights of a checkpoint.

    Args:
        cfg: The ``model`` of a config.
        checkpoint: File of a run with it.

    Returns:
        The classifier in eval mode. What the run trained has ``requires_grad``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the model has no loss on classes, or the file does not fit.
    """
    model = MODELS.build(cfg)
    head = getattr(model, "head", None)
    if not (hasattr(model, "extract_feat") and hasattr(head, "loss") and hasattr(head, "predict")):
        raise ValueError(
            f"A {type(model).__name__} {'without' if head is None else 'with'} a head has no loss "
            "on labelled images, so it has no landscape. Give the config of a classifier, such as "
            "configs/finetune/demo.py, and a checkpoint of a run with it."
        )
    content = read_checkpoint(checkpoint)
    tensors = state_dict_of(content.get("state_dict", content), checkpoint)
    match = compare(tensors, model.state_dict())
    if not match.complete or match.unexpected:
        raise ValueError(
            f"{checkpoint} does not fit the config's {type(model).__name__}: {match}. Give the "
            "config of its run; --models takes one for each checkpoint."
        )
    model.load_state_dict(tensors)
    # Two statements: the eval() of mmpretrain's backbones returns None.
    model.eval()
    return model.to(get_device())


def pipeline_of(dataset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns the transforms of a data set's config, also of one within others.

    Raises:
        ValueError: If it has none, or the data sets within it have different ones.
    """
    found: list[Any] = []
    for one in _innermost(dataset):
        if one.get("pipeline") not in [None, *found]:
            found.append(one["pipeline"])
    if not found:
        raise ValueError(
            f"The data set {_type_name(dataset)} has no pipeline of transforms, through which "
            "images are read. Give it one."
        )
    if len(found) > 1:
        raise ValueError(
            f"A {_type_name(dataset)} has {len(found)} pipelines of transforms within it, but "
            "images are read through one. Give all its data sets the same pipeline."
        )
    return list(found[0])


def with_pipeline(
    dataset: Mapping[str, Any], pipeline: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Returns the config of a data set with other transforms, also of one within others.

    Raises:
        ValueError: If it wraps others and has transforms besides theirs.
    """
    inner = _inner(dataset)
    if not inner:
        return {**dataset, "pipeline": list(pipeline)}
    if "pipeline" in dataset:
        raise ValueError(
            f"A {_type_name(dataset)} has a pipeline besides those of the data sets within it, so "
            "its images cannot be read without augmentation. Leave it out: give the data set "
            "within it with --cfg-options or another config."
        )
    replaced = {}
    for key, ones in inner.items():
        new = [with_pipeline(one, pipeline) for one in ones]
        replaced[key] = new[0] if isinstance(dataset[key], Mapping) else new
    return {**dataset, **replaced}


def _inner(dataset: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """Returns the data sets within a data set's config, by the option that has them."""
    found = {}
    for key in ("dataset", "datasets"):
        value = dataset.get(key)
        ones = value if isinstance(value, (list, tuple)) else [value]
        if ones and all(isinstance(one, Mapping) for one in ones):
            found[key] = list(ones)
    return found


def _innermost(dataset: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    inner = _inner(dataset)
    if not inner:
        yield dataset
    for ones in inner.values():
        for one in ones:
            yield from _innermost(one)


def _type_name(dataset: Mapping[str, Any]) -> str:
    kind = dataset.get("type")
    return getattr(kind, "__name__", str(kind))


def fixed_batches(
    dataset: Mapping[str, Any], pipeline: Sequence[Mapping[str, Any]], count: int, size: int
) -> list[dict[str, Any]]:
    """Reads images with their labels, evenly spaced in a data set, as batches.

    Args:
        dataset: Config of the data set.
        pipeline: Transforms, without augmentation, in place of those of the data set.
        count: Most images.
        size: Most images of a batch.

    Raises:
        ValueError: If there is no image, one has no label, or the transforms cannot be replaced.
    """
    built = DATASETS.build(with_pipeline(dataset, pipeline))
    total = len(built)
    taken = min(count, total)
    if not taken:
        raise ValueError("The data set has no image. Check val_dataloader.dataset of the config.")
    samples = [built[index * total // taken] for index in range(taken)]
    unlabelled = [sample for sample in samples if "gt_label" not in sample["data_samples"]]
    if unlabelled:
        raise ValueError(
            f"{len(unlabelled)} of {taken} images have no label, which a loss needs. Set "
            "with_label=True in the data set."
        )
    # Even, since batch norms cannot be estimated on a last batch of one small image.
    return [pseudo_collate(batch) for batch in even_batches(samples, size)]


def batches_sha256(batches: Sequence[Mapping[str, Any]]) -> str:
    """Returns a hash of the pixels and labels of batches."""
    digest = hashlib.sha256()
    for batch in batches:
        for pixels, sample in zip(batch["inputs"], batch["data_samples"], strict=True):
            digest.update(f"{tuple(pixels.shape)} {sample.gt_label.tolist()}\n".encode())
            digest.update(pixels.contiguous().numpy().tobytes())
    return digest.hexdigest()


def losses_of(
    model: nn.Module, batches: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Tensor, Any, list]]:
    """Yields loss, features and samples of each batch, without augmentation of the batch."""
    for batch in batches:
        data = model.data_preprocessor(batch, training=False)
        feats, samples = model.extract_feat(data["inputs"]), data["data_samples"]
        loss, _ = model.parse_losses(model.head.loss(feats, samples))
        yield loss, feats, samples


@torch.no_grad()
def evaluate(model: nn.Module, batches: Sequence[Mapping[str, Any]]) -> LossAndAccuracy:
    """Computes the mean loss of the head, and the accuracy.

    Of a head with several probes the loss is that of its training, their sum, and the accuracy that
    of the best probe.

    Args:
        model: The classifier in eval mode.
        batches: Result of :func:`fixed_batches`.
    """
    total, images = 0.0, 0
    hits: Tensor | int = 0
    for loss, feats, samples in losses_of(model, batches):
        total += loss.item() * len(samples)
        images += len(samples)
        labels = torch.cat([sample.gt_label for sample in samples])
        hits = hits + (_predicted(model.head.predict(feats, samples)) == labels).sum(-1)
    return LossAndAccuracy(total / images, 100 * (hits.max() / images).item())


def _predicted(samples: Sequence[Any]) -> Tensor:
    """Returns the predicted classes (P, B) of P probes."""
    if "probe_scores" in samples[0]:
        scores = [torch.stack(list(sample.probe_scores.values())) for sample in samples]
        return torch.stack(scores, 1).argmax(-1)
    return torch.cat([sample.pred_label for sample in samples])[None]

"""Features of images: one rule for any backbone's output, one extractor for any model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel, is_model_wrapper
from mmengine.runner.amp import autocast
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from mmdino.models.backbones.features import Features, last_output
from mmdino.utils.printable import printable


def pool_features(output: Tensor | Features | Sequence[Tensor | Features]) -> Tensor:
    """Reduces the output of a backbone to one feature an image.

    Args:
        output: An output, or several, of which the last counts: a class token (B, D) is returned
            as it is; of :class:`Features`, and of tokens (B, N, D), whose first it is, the class
            token is taken; a map (B, D, H, W) is averaged over its positions.

    Returns:
        Features (B, D).

    Raises:
        ValueError: If the output is none of these.
    """
    last = last_output(output)
    dims = last.dim() if isinstance(last, Tensor) else None
    if dims == 2:
        return last
    if dims == 3:
        return last[:, 0]
    if dims == 4:
        return last.mean((2, 3))
    found = f"shape {tuple(last.shape)}" if dims is not None else f"type {type(last).__name__}"
    raise ValueError(
        f"Cannot make features of a backbone's output of {found}; a feature is a class token "
        "(B, D), the first of tokens (B, N, D), or the mean over a map (B, D, H, W)."
    )


def feature_of(backbone: nn.Module, images: Tensor) -> Tensor:
    """Maps normalised images (B, C, H, W) to features (B, D); see :func:`pool_features`."""
    return pool_features(backbone(images))


class BackboneModel(BaseModel):
    """A bare backbone as a model of mmengine, with mode "tensor" only.

    Args:
        backbone: The backbone.
        preprocessor: Config of what normalises its images; by default it takes colour images in
            BGR, from 0 to 255, with ImageNet's mean and deviation.
    """

    def __init__(self, backbone: nn.Module, preprocessor: dict | None = None) -> None:
        super().__init__(preprocessor or {"type": "mmdino.MultiViewPreprocessor"})
        self.backbone = backbone

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = "tensor"
    ) -> Tensor | Sequence[Tensor]:
        """Returns the output of the backbone."""
        return self.backbone(inputs)


def check_equal_shapes(images: Sequence[Any], samples: Sequence[Any]) -> None:
    """Checks that images of a batch can be stacked.

    Args:
        images: Images (C, H, W); anything else is passed over.
        samples: Their samples, whose ``img_path`` errors name.

    Raises:
        ValueError: If two differ in shape.
    """
    first = None
    for image, sample in zip(images, samples, strict=False):
        if not isinstance(image, Tensor):
            continue
        if first is None:
            first = image, sample
        elif image.shape != first[0].shape:
            named = [
                f"{printable(str(other.get('img_path')))} {tuple(tensor.shape)}"
                for tensor, other in (first, (image, sample))
            ]
            raise ValueError(
                "Images of one batch must have the same shape (channels, height, width), got "
                f"{' and '.join(named)}. Add dict(type='ResizeEdge', scale=256, edge='short') and "
                "dict(type='CenterCrop', crop_size=224) to the pipeline after loading, or set "
                "batch_size=1."
            )


def require_inputs(batch: Sequence[Any]) -> None:
    """Checks that samples have the images that models take.

    Args:
        batch: Samples; what is no dict is passed over.

    Raises:
        ValueError: If one has no ``inputs``.
    """
    for sample in batch:
        if isinstance(sample, Mapping) and "inputs" not in sample:
            raise ValueError(
                "The pipeline of the data set gives no 'inputs', but "
                f"{', '.join(map(str, sample)) or 'nothing'}. End it with dict(type='PackInputs')."
            )


def collate_equal_shapes(collate: Callable[[list], Any], batch: list[dict]) -> Any:
    """Collates a batch after :func:`check_equal_shapes`.

    Raises:
        ValueError: If two images differ in shape, or a sample has none.
    """
    require_inputs(batch)
    images, samples = (
        [sample[name] for sample in batch if name in sample] for name in ("inputs", "data_samples")
    )
    check_equal_shapes(images, samples)
    return collate(batch)


def predict_features(model: nn.Module, batch: dict, amp: bool = False) -> list[DataSample]:
    """Computes the features of a batch with any model.

    A model that offers ``predict``, as the methods of this project do, sets them itself. Any other
    one, such as mmpretrain's self-supervised models, is run in mode "tensor", and its output
    reduced by :func:`pool_features`.

    Args:
        model: The model, in its wrapper if it has one.
        batch: ``inputs``, B images of one shape, and ``data_samples``, B samples, optional.
        amp: Whether to run the model under autocast.

    Returns:
        The B samples with their ``feature`` (D,) set.

    Raises:
        ValueError: If images differ in shape, ``predict`` sets no ``feature``, or the output cannot
            be reduced.
    """
    if isinstance(batch["inputs"], (tuple, list)):
        check_equal_shapes(batch["inputs"], batch.get("data_samples") or [])
    network = model.module if is_model_wrapper(model) else model
    if hasattr(network, "predict"):
        with autocast(enabled=amp):
            samples = model.val_step(batch)
        if not hasattr(samples[0], "feature"):
            raise ValueError(
                f"{type(network).__name__}.predict sets no 'feature' on its samples, which k-NN "
                "compares. Use a self-supervised model, or tools/knn.py with a checkpoint."
            )
        return samples
    if isinstance(batch["inputs"], (tuple, list)):
        # mmengine's pseudo_collate; a self-supervised model would take a list for views.
        batch = {**batch, "inputs": torch.stack(list(batch["inputs"]))}
    # As val_step does: only a sharded model needs its wrapper, and that of DDP synchronises.
    forward = model if isinstance(model, FullyShardedDataParallel) else network
    with autocast(enabled=amp):
        data = network.data_preprocessor(batch, False)
        features = pool_features(forward(**data, mode="tensor"))
    samples = data.get("data_samples") or [DataSample() for _ in features]
    for sample, feature in zip(samples, features, strict=True):
        sample.set_field(feature, "feature")
    return samples


def predict_view_features(model: nn.Module, batch: dict, amp: bool = False) -> list[DataSample]:
    """Computes the features of several views of each image.

    Args:
        model: The model, as :func:`predict_features` takes it.
        batch: ``inputs``, V tensors of views (B, C, H, W), and optional ``data_samples``.
        amp: Whether to run the model under autocast.

    Returns:
        The B samples with their ``feature`` (V, D) set.

    Raises:
        TypeError: If the inputs are no views.
        ValueError: If there is one view only.
    """
    views = batch["inputs"]
    if isinstance(views, Tensor) or not isinstance(views[0], Tensor) or views[0].dim() != 4:
        raise TypeError(
            "The validation needs a batch of views, but the pipeline gives one image each. Put "
            "dict(type='mmdino.MultiCropTransform', views=[...]) and "
            "dict(type='mmdino.PackViews') into the pipeline of val_dataloader, and "
            "collate_fn=dict(type='default_collate') into val_dataloader."
        )
    if len(views) < 2:
        raise ValueError(
            "The validation got one view of each image; it compares views. Set num of the group of "
            "views in the pipeline of val_dataloader to at least 2."
        )
    samples, features = batch.get("data_samples"), []
    for view in views:
        samples = predict_features(model, {"inputs": view, "data_samples": samples}, amp)
        features.append(torch.stack([sample.feature for sample in samples]))
    for sample, of_image in zip(samples, torch.stack(features, 1), strict=True):
        sample.set_field(of_image, "feature")
    return samples


@torch.no_grad()
def extract_features(
    model: nn.Module, dataloader: Iterable[dict], amp: bool = False
) -> Iterator[tuple[Tensor, list[Any]]]:
    """Computes features batch by batch.

    Args:
        model: The model, in eval mode.
        dataloader: Batches that :func:`predict_features` takes.
        amp: Whether to run the model under autocast.

    Yields:
        Features (B, D) in float32 on the model's device, and the B samples.
    """
    for batch in dataloader:
        samples = predict_features(model, batch, amp)
        yield torch.stack([sample.feature for sample in samples]).float(), samples

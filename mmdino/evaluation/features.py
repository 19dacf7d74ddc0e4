"""Features of a folder of labelled images, into a bank."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.device import get_device
from mmengine.registry import DATASETS
from mmengine.runner.amp import autocast
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmdino.datasets import ImageFolder
from mmdino.evaluation.feature_bank import IMAGES_A_PART, BankWriter, FeatureBank, start_bank
from mmdino.models.backbones import VisionTransformer
from mmdino.models.preprocessors import MultiViewPreprocessor
from mmdino.weights.networks import (
    Network,
    backbone_weights,
    build_backbone,
    feature_of,
    untrained_like,
)

SIZE, CROP = 256, 224
"""Sizes of the paper's evaluation, in pixels."""

SECONDS_A_LINE = 10


@dataclass(frozen=True)
class Evaluated:
    """A frozen backbone and where it comes from.

    Args:
        backbone: The network, in eval mode.
        checkpoint: Name of the file.
        network: ``"teacher"``, ``"student"``, ``"backbone"`` where the file has one and does not
            say, or ``"untrained (seed S)"``.
    """

    backbone: nn.Module
    checkpoint: str
    network: str


def load_evaluated(
    checkpoint: str | Path,
    network: Network = "teacher",
    num_heads: int | None = None,
    untrained: int | None = None,
) -> Evaluated:
    """Loads the backbone of any checkpoint, or the same network untrained.

    Args:
        checkpoint: What :func:`mmdino.weights.networks.backbone_weights` reads.
        network: Which of the two, where the file has both.
        num_heads: Number of heads of a ViT, where neither the file nor the width tells it.
        untrained: If given, the seed of a fresh network of the same architecture.
    """
    weights = backbone_weights(checkpoint, network, num_heads=num_heads)
    backbone = build_backbone(weights.config, weights.state_dict, str(checkpoint))
    # Where the number of heads comes from may matter: it is a guess where the file does not tell.
    print(f"{checkpoint}: {weights}")
    name = Path(checkpoint).name
    if untrained is not None:
        return Evaluated(untrained_like(backbone, untrained), name, f"untrained (seed {untrained})")
    return Evaluated(backbone, name, weights.network)


def evaluation_pipeline(size: int = SIZE, crop: int = CROP) -> list[dict]:
    """Returns the transforms of the validation in training: shorter side, centre crop.

    Args:
        size: Length of the shorter side in pixels, by bicubic interpolation with antialiasing.
        crop: Side of the central square that is kept.

    Raises:
        ValueError: If the crop does not fit into the image.
    """
    if not 1 <= crop <= size:
        raise ValueError(
            f"The crop of {crop} pixels must be at least 1 and at most the size of {size}, to "
            "which the shorter side is resized. For images of 32 pixels: --size 32 --crop 32."
        )
    return [
        {"type": "LoadImageFromFile"},
        {
            "type": "ResizeEdge",
            "scale": size,
            "edge": "short",
            "backend": "pillow",
            "interpolation": "bicubic",
        },
        {"type": "CenterCrop", "crop_size": crop},
        {"type": "PackInputs"},
    ]


def labelled_images(
    folder: str | Path, size: int = SIZE, crop: int = CROP, **options: Any
) -> ImageFolder:
    """Builds the data set of a folder of class folders, ready to evaluate.

    Args:
        folder: The folder.
        size: Length of the shorter side in pixels.
        crop: Side of the central square that is kept.
        **options: ``every``, ``fraction`` and ``fraction_seed`` of :class:`ImageFolder`.

    Raises:
        FileNotFoundError: If the folder is missing or holds no images.
        ValueError: If a class has no image.
    """
    dataset = DATASETS.build(
        {
            "type": "mmdino.ImageFolder",
            "data_root": str(folder),
            "with_label": True,
            "test_mode": True,
            "pipeline": evaluation_pipeline(size, crop),
            **options,
        },
        default_args={"_scope_": "mmpretrain"},
    )
    classes = dataset.metainfo["classes"]
    counts = np.bincount(dataset.get_gt_labels(), minlength=len(classes))
    empty = [name for name, count in zip(classes, counts, strict=True) if not count]
    if empty:
        raise ValueError(
            f"{len(empty)} of {len(classes)} classes of {str(folder)!r} have no image: "
            f"{', '.join(empty[:5])}. Remove their folders, or lower --every."
        )
    return dataset


def check_images_fit(backbone: nn.Module, crop: int) -> None:
    """Checks that colour images of ``crop`` pixels go into a backbone.

    Raises:
        ValueError: If they have other channels, or are no multiple of its patch.
    """
    channels = next(weight for weight in backbone.parameters() if weight.dim() == 4).shape[1]
    if channels != 3:
        raise ValueError(
            f"The network takes images of {channels} channel(s), but image files are read in "
            "colour. Validate it with tools/test.py and the pipeline of its config instead."
        )
    is_vit = isinstance(backbone, VisionTransformer)
    patch = backbone.patch_embed.projection.kernel_size[0] if is_vit else 1
    if crop % patch:
        raise ValueError(
            f"Images are cropped to {crop} pixels, which is no multiple of the network's patch of "
            f"{patch}. Set --crop (and --size) to what it was trained for."
        )


def make_bank(
    evaluated: Evaluated,
    images: ImageFolder,
    folder: str | Path,
    size: int = SIZE,
    crop: int = CROP,
    dtype: str = "float32",
    amp: bool = False,
    batch_size: int = 64,
    workers: int = 2,
    overwrite: bool = False,
    command: str = "python tools/extract_features.py ...",
    images_a_part: int = IMAGES_A_PART,
) -> FeatureBank:
    """Computes the features of all images, or those that an interrupted run left.

    Args:
        evaluated: The network.
        images: The images, from :func:`labelled_images` with the same sizes.
        folder: Where the bank goes.
        size: Length of the shorter side in pixels.
        crop: Side of the central square that is kept.
        dtype: Precision that features are kept in, ``"float32"`` or ``"float16"``.
        amp: Whether to compute them under autocast.
        batch_size: Images a forward pass.
        workers: Processes that read images, 0 for none.
        overwrite: Whether to replace a bank of something else.
        command: The command that goes on with an unfinished bank, for messages.
        images_a_part: Images an interruption may lose.

    Returns:
        The bank, which may have been there already.

    Raises:
        ValueError: If the folder holds a bank of something else, an image cannot be read or does
            not fit the network, or a feature is not finite.
    """
    if batch_size < 1 or workers < 0:
        raise ValueError(
            f"Features need a batch size of at least 1 and 0 or more workers, not {batch_size} "
            f"and {workers}."
        )
    check_images_fit(evaluated.backbone, crop)
    plan = {
        "checkpoint": evaluated.checkpoint,
        "network_sha256": network_sha256(evaluated.backbone),
        "network": evaluated.network,
        "size": size,
        "crop": crop,
        "amp": amp,
        "dtype": dtype,
        "source": str(Path(images.img_prefix).resolve()),
        "files_sha256": files_sha256(images),
        "images": len(images),
        "classes": list(images.metainfo["classes"]),
    }
    bank = start_bank(folder, plan, command, overwrite, images_a_part)
    if isinstance(bank, FeatureBank):
        print(f"{folder}: the features of {len(bank)} images are there already.")
        return bank
    fill_parts(bank, evaluated.backbone, images, amp, batch_size, workers)
    return bank.finish(images.get_gt_labels())


def fill_parts(
    bank: BankWriter,
    backbone: nn.Module,
    images: Dataset,
    amp: bool = False,
    batch_size: int = 64,
    workers: int = 2,
) -> None:
    """Computes the parts that a bank lacks.

    Batches never cross from a part to the next: what is in a batch, and with it the last bits of a
    feature, does not depend on where a run was interrupted.
    """
    missing = bank.missing_parts()
    total = sum(map(len, missing.values()))
    kept = len(images) - total
    print(
        f"{bank.folder}: computing the features of {total} images"
        + (f"; {kept} are there from before." if kept else ".")
    )
    batches = {
        number: [part[start : start + batch_size] for start in range(0, len(part), batch_size)]
        for number, part in missing.items()
    }
    features = extract(backbone, images, list(chain(*batches.values())), amp, workers)
    done, started, told = 0, time.monotonic(), time.monotonic()
    for number, of_part in batches.items():
        rows = []
        for batch in of_part:
            rows.append(next(features))
            done += len(batch)
            now = time.monotonic()
            if now - told > SECONDS_A_LINE or done == total:
                rate, told = done / (now - started), now
                left = f"{(total - done) / rate:.0f} s left"
                print(f"  {done}/{total} images, {rate:.1f} images/s, {left}", flush=True)
        bank.write_part(number, np.concatenate(rows))


@torch.no_grad()
def extract(
    backbone: nn.Module,
    images: Dataset,
    batches: Sequence[Sequence[int]],
    amp: bool = False,
    workers: int = 2,
) -> Iterator[np.ndarray]:
    """Computes features of a data set a batch at a time, on a GPU if there is one.

    Args:
        backbone: The network, which is moved to the device.
        images: Data set whose samples have ``inputs`` (3, H, W) in BGR, from 0 to 255.
        batches: Indices of each batch.
        amp: Whether to compute under autocast.
        workers: Processes that read images, 0 for none.

    Yields:
        Features (B, D) of each batch, in float32.
    """
    device = get_device()
    loader = DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_stack_inputs,
        pin_memory=device == "cuda",
        worker_init_fn=_use_one_thread,
    )
    backbone.to(device)
    preprocessor = MultiViewPreprocessor().to(device)
    for inputs in loader:
        normalised = preprocessor({"inputs": inputs})["inputs"]
        with autocast(enabled=amp):
            features = feature_of(backbone, normalised)
        yield features.float().cpu().numpy()


def network_sha256(backbone: nn.Module) -> str:
    """Returns a hash of a network: its tensors, their names, and what no tensor tells."""
    digest = hashlib.sha256()
    for name, module in backbone.named_modules():
        for option in ("num_heads", "pos_embed_offset", "eps"):
            if hasattr(module, option):
                digest.update(f"{name} {option} {getattr(module, option)}\n".encode())
    for name, tensor in sorted(backbone.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def files_sha256(images: ImageFolder) -> str:
    """Returns a hash of the names of images below their folder, and of their labels."""
    digest = hashlib.sha256()
    for index in range(len(images)):
        sample = images.get_data_info(index)
        name = os.path.relpath(sample["img_path"], images.img_prefix)
        digest.update(f"{name}\t{int(sample['gt_label'])}\n".encode())
    return digest.hexdigest()


def _stack_inputs(samples: Sequence[dict]) -> Tensor:
    return torch.stack([sample["inputs"] for sample in samples])


def _use_one_thread(worker: int) -> None:
    cv2.setNumThreads(0)

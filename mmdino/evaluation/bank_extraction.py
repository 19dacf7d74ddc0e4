"""Feature banks from a checkpoint and the images of a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import default_collate
from mmengine.device import get_device
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmdino.datasets.image_list import check_listable
from mmdino.datasets.readers.reading import reading_from
from mmdino.evaluation.bank_images import BankImages
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.feature_bank import (
    PART_SIZE,
    UNREADABLE,
    BankWriter,
    FeatureBank,
    read_unreadable,
    start_bank,
)
from mmdino.evaluation.features import BackboneModel, extract_features
from mmdino.evaluation.stored_input import ImageInput, read_by, stored_input
from mmdino.models.selfsup.base import patch_stride
from mmdino.utils.progress import Progress
from mmdino.weights.networks import (
    Network,
    backbone_weights,
    build_backbone,
    input_channels,
    untrained_like,
)

LATER_OPTIONS = {"quick_gelu": False, "interpolate_mode": "bicubic"}
"""Options that enter the hash of a network only with another value, which keeps older banks."""


@dataclass(frozen=True)
class Evaluated:
    """A frozen backbone and where it comes from.

    Args:
        backbone: The network, in eval mode.
        checkpoint: Name of the file.
        network: ``"teacher"``, ``"student"``, ``"backbone"`` where the file has one and does not
            say, or ``"untrained (seed S)"``.
        loading: Arguments of :func:`load_evaluated` that load it again, as JSON values.
        image_input: How images enter it.
    """

    backbone: nn.Module
    checkpoint: str
    network: str
    loading: dict[str, Any] = field(default_factory=dict)
    image_input: ImageInput = field(default_factory=ImageInput)


def load_evaluated(
    checkpoint: str | Path,
    network: Network = "teacher",
    num_heads: int | None = None,
    untrained: int | None = None,
    reader: str | Mapping[str, Any] | None = None,
    extensions: Sequence[str] | None = None,
) -> Evaluated:
    """Loads the backbone of any checkpoint, or the same network untrained.

    How its images are loaded and normalised is what the config in the checkpoint says.

    Args:
        checkpoint: What :func:`mmdino.weights.networks.backbone_weights` reads.
        network: Which of the two, where the file has both.
        num_heads: Number of heads of a ViT, if neither the file nor the width determines it.
        untrained: If given, the seed of a newly initialised network of the same architecture.
        reader: Function that reads the images, as :class:`~mmdino.datasets.LoadImage` takes it, in
            place of that of the run.
        extensions: Extensions of its files.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no known backbone, images of the network cannot be loaded, or
            extensions are given without a reader.
    """
    weights = backbone_weights(checkpoint, network, num_heads=num_heads)
    backbone = build_backbone(weights.config, weights.state_dict, str(checkpoint))
    # Printed since it names what was guessed, such as the number of heads.
    print(f"{checkpoint}: {weights}")
    name = Path(checkpoint).name
    image_input = stored_input(weights.meta, may_fail=reader is None)
    reading = reading_from(reader, extensions)
    if reading is not None:
        image_input = read_by(image_input, *reading)
    loading = {
        "checkpoint": str(checkpoint) if "://" in str(checkpoint) else os.path.abspath(checkpoint),
        "network": network,
        "num_heads": num_heads,
        "untrained": untrained,
    }
    if reader is not None:
        loading |= {"reader": reader, "extensions": image_input.extensions}
    if untrained is not None:
        fresh = untrained_like(backbone, untrained)
        return Evaluated(fresh, name, f"untrained (seed {untrained})", loading, image_input)
    return Evaluated(backbone, name, weights.network, loading, image_input)


def check_images_fit(backbone: nn.Module, crop: int, image_input: ImageInput) -> None:
    """Checks that a backbone takes images of ``crop`` pixels that enter it in a way.

    Raises:
        ValueError: If it takes another number of channels, or its patch does not divide the crop.
    """
    channels = input_channels(backbone)
    given = len(image_input.mean)
    if channels != given:
        raise ValueError(
            f"The network takes images of {channels} channel(s), and {given} are known by their "
            "mean and deviation. Use the checkpoint of its run, which has the config."
        )
    patch, _ = patch_stride(backbone)
    if crop % patch:
        raise ValueError(
            f"Images are cropped to {crop} pixels, which is no multiple of the network's patch of "
            f"{patch}. Set --crop (and --size) to what it was trained for."
        )


def plan_of(evaluated: Evaluated, images: BankImages, options: ExtractionOptions) -> dict[str, Any]:
    """Returns what the features of images depend on, as JSON values."""
    options = options.with_sizes(images.image_input.size, images.image_input.crop)
    return {
        "checkpoint": evaluated.checkpoint,
        "loading": evaluated.loading,
        "network_sha256": network_sha256(evaluated.backbone),
        "network": evaluated.network,
        "size": options.size,
        "crop": options.crop,
        "amp": options.amp,
        "dtype": options.dtype,
        "input": evaluated.image_input.plan(),
        "source": str(Path(images.img_prefix).resolve()),
        "files_sha256": files_sha256(images),
        "images": len(images),
        "classes": list(images.metainfo["classes"]),
    }


def make_bank(
    evaluated: Evaluated,
    images: BankImages,
    folder: str | Path,
    options: ExtractionOptions,
    command: str = "python tools/extract_features.py ...",
    part_size: int = PART_SIZE,
) -> FeatureBank:
    """Computes the features of all images, or the missing ones of an interrupted run.

    Args:
        evaluated: The network.
        images: The images, with the same options.
        folder: Folder of the bank.
        options: How the features are computed.
        command: The command that resumes an unfinished bank, for messages.
        part_size: Images that an interruption may lose.

    Returns:
        The bank; an existing one is returned as it is.

    Raises:
        ValueError: If the folder holds a bank of something else, no image can be read, one does not
            fit the network, a name has a line break, or a feature is not finite.
    """
    check_images_fit(evaluated.backbone, images.crop, images.image_input)
    names = images.names()
    check_listable(names)
    plan = plan_of(evaluated, images, options)
    bank = start_bank(folder, plan, command, options.overwrite, part_size)
    if isinstance(bank, FeatureBank):
        print(f"{folder}: the features of {len(bank)} images are there already.")
        return bank
    images.unreadable = bank.folder / UNREADABLE
    fill_bank(bank, evaluated.backbone, images, options, images.image_input.preprocessor)
    return bank.finish(images.get_gt_labels(), names, read_unreadable(images.unreadable))


def fill_bank(
    bank: BankWriter,
    backbone: nn.Module,
    images: Dataset,
    options: ExtractionOptions,
    preprocessor: dict | None = None,
) -> None:
    """Computes the missing parts of a bank, on a GPU if there is one.

    A batch never extends over two parts, so that its images, and with them the last bits of a
    feature, do not depend on where a run was interrupted.

    Args:
        bank: The bank.
        backbone: The network, in eval mode.
        images: Samples whose ``inputs`` are pixels (C, H, W), in the order of the bank.
        options: Batch size, workers and precision.
        preprocessor: Config of what normalises them, as :class:`BackboneModel` takes it.
    """
    missing = bank.missing_parts()
    total = sum(map(len, missing.values()))
    kept = len(images) - total
    print(
        f"{bank.folder}: computing the features of {total:,} images"
        + (f"; {kept:,} are there from before." if kept else ".")
        + " The same command goes on after an interruption."
    )
    step = options.batch_size
    batches = {
        number: [part[start : start + step] for start in range(0, len(part), step)]
        for number, part in missing.items()
    }
    device = get_device()
    loader = DataLoader(
        images,
        batch_sampler=list(chain(*batches.values())),
        num_workers=options.workers,
        collate_fn=default_collate,
        pin_memory=device == "cuda",
        worker_init_fn=_use_one_thread,
    )
    features = extract_features(
        BackboneModel(backbone, preprocessor).to(device), loader, options.amp
    )
    done, progress = 0, Progress("features", total, always=True)
    for number, of_part in batches.items():
        rows = []
        for batch in of_part:
            rows.append(next(features)[0].cpu().numpy())
            done += len(batch)
            progress.at(done)
        bank.write_part(number, np.concatenate(rows))


def network_sha256(backbone: nn.Module) -> str:
    """Returns a hash of a network: its tensors with their names, and options that no tensor has."""
    digest = hashlib.sha256()
    for name, module in backbone.named_modules():
        for option in ("num_heads", "pos_embed_offset", "pos_embed_antialias", "eps"):
            if hasattr(module, option):
                digest.update(f"{name} {option} {getattr(module, option)}\n".encode())
        for option, default in LATER_OPTIONS.items():
            if getattr(module, option, default) != default:
                digest.update(f"{name} {option} {getattr(module, option)}\n".encode())
    for name, tensor in sorted(backbone.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def files_sha256(images: BankImages) -> str:
    """Returns a hash of the names of the images, relative to their folder, and of their labels."""
    digest = hashlib.sha256()
    for name, label in zip(images.names(), images.get_gt_labels(), strict=True):
        digest.update(os.fsencode(f"{name}\t{int(label)}\n"))
    return digest.hexdigest()


def _use_one_thread(worker: int) -> None:
    cv2.setNumThreads(0)

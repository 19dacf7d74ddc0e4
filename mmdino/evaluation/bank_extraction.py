"""Feature banks from a checkpoint and a folder of labelled images."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from mmengine.dataset import default_collate
from mmengine.device import get_device
from mmengine.registry import DATASETS
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmdino.datasets import ImageFolder
from mmdino.evaluation.feature_bank import PART_SIZE, BankWriter, FeatureBank, start_bank
from mmdino.evaluation.features import BackboneModel, extract_features
from mmdino.weights.networks import Network, backbone_weights, build_backbone, untrained_like

SECONDS_PER_LINE = 10


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


@dataclass(frozen=True)
class ExtractionOptions:
    """How the features of a folder of images are computed.

    Args:
        size: Length of the shorter side in pixels, by bicubic interpolation with antialiasing.
        crop: Side of the central square that is kept, in pixels.
        every: Use every n-th image in the order of the names.
        dtype: Precision of the saved features, ``"float32"`` or ``"float16"``.
        amp: Whether to compute them under autocast.
        batch_size: Images per forward pass.
        workers: Processes that read images, 0 for none.
        overwrite: Whether to replace a bank of something else.

    Raises:
        ValueError: If a size, the batch size or the number of workers is out of range.
    """

    size: int = 256
    crop: int = 224
    every: int = 1
    dtype: str = "float32"
    amp: bool = False
    batch_size: int = 64
    workers: int = 2
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.size:
            raise ValueError(
                f"The crop of {self.crop} pixels must be at least 1 and at most the size of "
                f"{self.size}, to which the shorter side is resized. For images of 32 pixels: "
                "--size 32 --crop 32."
            )
        if self.batch_size < 1 or self.workers < 0:
            raise ValueError(
                f"Features need a batch size of at least 1 and 0 or more workers, not "
                f"{self.batch_size} and {self.workers}."
            )


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
        num_heads: Number of heads of a ViT, if neither the file nor the width determines it.
        untrained: If given, the seed of a newly initialised network of the same architecture.
    """
    weights = backbone_weights(checkpoint, network, num_heads=num_heads)
    backbone = build_backbone(weights.config, weights.state_dict, str(checkpoint))
    # Printed since it names what was guessed, such as the number of heads.
    print(f"{checkpoint}: {weights}")
    name = Path(checkpoint).name
    if untrained is not None:
        return Evaluated(untrained_like(backbone, untrained), name, f"untrained (seed {untrained})")
    return Evaluated(backbone, name, weights.network)


def evaluation_pipeline(options: ExtractionOptions) -> list[dict]:
    """Returns the transforms of the validation in training: shorter side, centre crop."""
    return [
        {"type": "LoadImageFromFile"},
        {
            "type": "ResizeEdge",
            "scale": options.size,
            "edge": "short",
            "backend": "pillow",
            "interpolation": "bicubic",
        },
        {"type": "CenterCrop", "crop_size": options.crop},
        {"type": "PackInputs"},
    ]


def labelled_images(
    folder: str | Path,
    options: ExtractionOptions,
    fraction: float = 1.0,
    fraction_seed: int = 0,
) -> ImageFolder:
    """Builds the data set of a folder with a folder of images for each class.

    Args:
        folder: The folder.
        options: Sizes, and which images to use.
        fraction: Fraction of the images of each class to use; see :class:`ImageFolder`.
        fraction_seed: Seed of that draw.

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
            "every": options.every,
            "fraction": fraction,
            "fraction_seed": fraction_seed,
            "pipeline": evaluation_pipeline(options),
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
    """Checks that a backbone takes colour images of ``crop`` pixels.

    Raises:
        ValueError: If it takes another number of channels, or its patch does not divide the crop.
    """
    channels = next(weight for weight in backbone.parameters() if weight.dim() == 4).shape[1]
    if channels != 3:
        raise ValueError(
            f"The network takes images of {channels} channel(s), but image files are read in "
            "colour. Validate it with tools/test.py and the pipeline of its config instead."
        )
    embedding = getattr(backbone, "patch_embed", None)
    patch = 1 if embedding is None else embedding.projection.kernel_size[0]
    if crop % patch:
        raise ValueError(
            f"Images are cropped to {crop} pixels, which is no multiple of the network's patch of "
            f"{patch}. Set --crop (and --size) to what it was trained for."
        )


def make_bank(
    evaluated: Evaluated,
    images: ImageFolder,
    folder: str | Path,
    options: ExtractionOptions,
    command: str = "python tools/extract_features.py ...",
    part_size: int = PART_SIZE,
) -> FeatureBank:
    """Computes the features of all images, or the missing ones of an interrupted run.

    Args:
        evaluated: The network.
        images: The images, from :func:`labelled_images` with the same options.
        folder: Folder of the bank.
        options: How the features are computed.
        command: The command that resumes an unfinished bank, for messages.
        part_size: Images that an interruption may lose.

    Returns:
        The bank; an existing one is returned as it is.

    Raises:
        ValueError: If the folder holds a bank of something else, an image cannot be read or does
            not fit the network, or a feature is not finite.
    """
    check_images_fit(evaluated.backbone, options.crop)
    plan = {
        "checkpoint": evaluated.checkpoint,
        "network_sha256": network_sha256(evaluated.backbone),
        "network": evaluated.network,
        "size": options.size,
        "crop": options.crop,
        "amp": options.amp,
        "dtype": options.dtype,
        "source": str(Path(images.img_prefix).resolve()),
        "files_sha256": files_sha256(images),
        "images": len(images),
        "classes": list(images.metainfo["classes"]),
    }
    bank = start_bank(folder, plan, command, options.overwrite, part_size)
    if isinstance(bank, FeatureBank):
        print(f"{folder}: the features of {len(bank)} images are there already.")
        return bank
    fill_bank(bank, evaluated.backbone, images, options)
    return bank.finish(images.get_gt_labels())


def fill_bank(
    bank: BankWriter, backbone: nn.Module, images: Dataset, options: ExtractionOptions
) -> None:
    """Computes the missing parts of a bank, on a GPU if there is one.

    A batch never extends over two parts, so that its images, and with them the last bits of a
    feature, do not depend on where a run was interrupted.

    Args:
        bank: The bank.
        backbone: The network, in eval mode.
        images: Samples whose ``inputs`` are pixels (3, H, W) in BGR, in the order of the bank.
        options: Batch size, workers and precision.
    """
    missing = bank.missing_parts()
    total = sum(map(len, missing.values()))
    kept = len(images) - total
    print(
        f"{bank.folder}: computing the features of {total} images"
        + (f"; {kept} are there from before." if kept else ".")
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
    features = extract_features(BackboneModel(backbone).to(device), loader, options.amp)
    done, started, reported = 0, time.monotonic(), time.monotonic()
    for number, of_part in batches.items():
        rows = []
        for batch in of_part:
            rows.append(next(features)[0].cpu().numpy())
            done += len(batch)
            now = time.monotonic()
            if now - reported > SECONDS_PER_LINE or done == total:
                rate, reported = done / (now - started), now
                left = f"{(total - done) / rate:.0f} s left"
                print(f"  {done}/{total} images, {rate:.1f} images/s, {left}", flush=True)
        bank.write_part(number, np.concatenate(rows))


def network_sha256(backbone: nn.Module) -> str:
    """Returns a hash of a network: its tensors with their names, and options that no tensor has."""
    digest = hashlib.sha256()
    for name, module in backbone.named_modules():
        for option in ("num_heads", "pos_embed_offset", "pos_embed_antialias", "eps"):
            if hasattr(module, option):
                digest.update(f"{name} {option} {getattr(module, option)}\n".encode())
    for name, tensor in sorted(backbone.state_dict().items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def files_sha256(images: ImageFolder) -> str:
    """Returns a hash of the names of the images, relative to their folder, and of their labels."""
    digest = hashlib.sha256()
    for index in range(len(images)):
        sample = images.get_data_info(index)
        name = os.path.relpath(sample["img_path"], images.img_prefix)
        digest.update(os.fsencode(f"{name}\t{int(sample['gt_label'])}\n"))
    return digest.hexdigest()


def _use_one_thread(worker: int) -> None:
    cv2.setNumThreads(0)

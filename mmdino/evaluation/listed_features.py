"""Features of listed images, as the protocol of an evaluation makes them, in banks that resume."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmdino.evaluation.bank_extraction import Evaluated, fill_bank, network_sha256
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.feature_bank import FeatureBank, start_bank
from mmdino.models.selfsup.base import patch_stride
from mmdino.utils.printable import printable
from mmdino.visualization.media import read_image

PART_SIZE = 256
"""Images that an interruption may lose."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""


class ListedImage(NamedTuple):
    """An image of a protocol."""

    path: Path
    box: Box | None = None
    """The part to use; None for all of it."""


class ListedImages(Dataset):
    """Images as a model takes them, in the order of a list.

    Args:
        images: The images.
        resize: Maps an image (H, W, 3) uint8 in RGB to its size in the protocol.
        least_side: Smallest side in pixels that the network takes then.
    """

    def __init__(
        self,
        images: Sequence[ListedImage],
        resize: Callable[[np.ndarray], np.ndarray],
        least_side: int = 1,
    ) -> None:
        self.images = images
        self.resize = resize
        self.least_side = least_side

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Returns ``inputs``, pixels (3, H, W) uint8 in BGR.

        Raises:
            ValueError: If the image cannot be read, or a side is too small.
        """
        path, box = self.images[index]
        # As stored: boxes are given so, and the reference ignores the orientation in EXIF.
        image = read_image(path, as_stored=True)
        resized = self.resize(image if box is None else cut_box(image, box, path))
        height, width = resized.shape[:2]
        if min(height, width) < self.least_side:
            raise ValueError(
                f"{printable(path)} would enter the network with {width} x {height} pixels, but "
                f"both sides must be at least {self.least_side}. Give a larger --size, or remove "
                "the image."
            )
        return {"inputs": torch.from_numpy(resized[..., ::-1].transpose(2, 0, 1).copy())}


def cut_box(image: np.ndarray, box: Box, path: Path) -> np.ndarray:
    """Returns the part of an image (H, W, 3) in a box, as Pillow's ``crop`` rounds it.

    Raises:
        ValueError: If nothing of the image is in the box.
    """
    left, top, right, bottom = (max(0, round(side)) for side in box)
    part = image[top:bottom, left:right]
    if not part.size:
        raise ValueError(
            f"The box {tuple(box)} of {printable(path)} has nothing of its {image.shape[1]} x "
            f"{image.shape[0]} pixels: expected left, top, right and bottom."
        )
    return part


@dataclass(frozen=True)
class Protocol:
    """How an evaluation makes features.

    Args:
        settings: What features depend on besides the network and the images, as JSON values.
        resize: Maps an image (H, W, 3) uint8 in RGB to its size in the protocol.
        descriptor: Maps normalised images (B, 3, H, W) to features (B, D).
        least_side: Smallest side in pixels of a resized image.
        batch_size: Images per forward pass; 1 where they differ in size.
        workers: Processes that read images, 0 for none.
    """

    settings: Mapping[str, Any]
    resize: Callable[[np.ndarray], np.ndarray]
    descriptor: nn.Module
    least_side: int
    batch_size: int
    workers: int = 0


def listed_features(
    evaluated: Evaluated,
    images: Sequence[ListedImage],
    protocol: Protocol,
    folder: Path,
    command: str,
    overwrite: bool = False,
) -> FeatureBank:
    """Computes the features of listed images, or what an interrupted run left over.

    Args:
        evaluated: The network.
        images: The images, N.
        protocol: How the features are made of them.
        folder: Folder of the bank.
        command: The command that resumes it, for messages.
        overwrite: Whether to replace a bank of something else.

    Returns:
        The bank, in the order of the list.

    Raises:
        FileNotFoundError: If an image is missing.
        ValueError: If the folder holds a bank of something else, an image cannot be read or is too
            small, or a feature is not finite.
    """
    require_files([image.path for image in images])
    options = ExtractionOptions(batch_size=protocol.batch_size, workers=protocol.workers)
    plan = {
        "checkpoint": evaluated.checkpoint,
        "network_sha256": network_sha256(evaluated.backbone),
        "network": evaluated.network,
        **protocol.settings,
        "dtype": options.dtype,
        "files_sha256": _files_sha256(images),
        "images": len(images),
        "classes": ["image"],
    }
    bank = start_bank(folder, plan, command, overwrite, PART_SIZE)
    if isinstance(bank, FeatureBank):
        print(f"{folder}: the features of {len(bank)} images are there already.")
        return bank
    listed = ListedImages(images, protocol.resize, protocol.least_side)
    fill_bank(bank, protocol.descriptor, listed, options)
    return bank.finish(np.zeros(len(images), dtype=np.int64))


def require_files(paths: Sequence[Path]) -> None:
    """Checks that files exist.

    Raises:
        FileNotFoundError: If some do not; names the first.
    """
    missing = [path for path in paths if not path.is_file()]
    if missing:
        more = f", the first of {len(missing)} missing" if len(missing) > 1 else ""
        raise FileNotFoundError(
            f"{printable(missing[0])} does not exist{more} of {len(paths)} images. Complete the "
            "download, or check the folder."
        )


def require_color(backbone: nn.Module) -> None:
    """Checks that a network takes colour images.

    Raises:
        ValueError: If it takes another number of channels.
    """
    channels = next(weight for weight in backbone.parameters() if weight.dim() == 4).shape[1]
    if channels != 3:
        raise ValueError(
            f"The network takes images of {channels} channel(s), and this evaluation has colour "
            "images. Give a network of 3 channels."
        )


def class_and_map(backbone: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Computes class token and patches after the last block and the final norm.

    Args:
        backbone: A ViT, or a network whose last output is a map, such as a ResNet.
        images: Normalised images (B, 3, H, W).

    Returns:
        Class token (B, D), of other networks the mean over the map, and map (B, D, h, w).

    Raises:
        ValueError: If the network gives no map.
    """
    if hasattr(backbone, "intermediate_tokens"):
        (tokens,) = backbone.intermediate_tokens(images)
        patch, _ = patch_stride(backbone)
        patches = tokens[:, backbone.num_extra_tokens :].transpose(1, 2)
        return tokens[:, 0], patches.unflatten(2, [side // patch for side in images.shape[-2:]])
    output = backbone(images)[-1]
    if not isinstance(output, Tensor) or output.dim() != 4:
        raise ValueError(
            f"A {type(backbone).__name__} gives no map of features (B, D, h, w). Use a ViT or a "
            "ResNet."
        )
    return output.mean((2, 3)), output


def _files_sha256(images: Sequence[ListedImage]) -> str:
    digest = hashlib.sha256()
    for path, box in images:
        file = path.stat()
        what = f"{printable(path.resolve())}\t{file.st_size}\t{file.st_mtime_ns}\t{box}\n"
        digest.update(what.encode())
    return digest.hexdigest()

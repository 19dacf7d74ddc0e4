"""An endless data loader over photographs, as in the pretraining configs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import default_collate
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader, Dataset

from common.view_chains import chains, one_thread
from mmdino.datasets.transforms.views.group import PAPER_VIEWS
from mmdino.visualization.media import list_images

ENDLESS = 1 << 30
"""Length of a data set that no benchmark reaches the end of."""


class Photographs(Dataset):
    """Views of photographs, repeated endlessly.

    Args:
        paths: Image files.
        chain: Name of the chain that makes the views.
        views: View groups.
    """

    def __init__(
        self, paths: Sequence[str], chain: str, views: Sequence[Mapping] = PAPER_VIEWS
    ) -> None:
        self.paths = paths
        self.chain = chain
        self.views = views
        self._make: Callable[[str], Any] | None = None

    def __len__(self) -> int:
        """Returns a length that no benchmark reaches."""
        return ENDLESS

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns ``inputs``, a list of V views, and ``data_samples`` if the chain gives them."""
        # Built in the worker: a chain may not be picklable.
        if self._make is None:
            init_default_scope("mmpretrain")
            one_thread()
            self._make = chains(self.views, [self.chain])[self.chain]
        sample = self._make(self.paths[index % len(self.paths)])
        return sample if isinstance(sample, dict) else {"inputs": sample}


def view_loader(
    paths: Sequence[str],
    chain: str,
    batch_size: int,
    workers: int,
    views: Sequence[Mapping] = PAPER_VIEWS,
    pin_memory: bool = False,
) -> DataLoader:
    """Returns a loader of batches: ``inputs``, V views (B, C, H, W), and ``data_samples``.

    Collation, pinning and persistent workers are as in the configs; images come in order.

    Args:
        paths: Image files.
        chain: Name of the chain that makes the views.
        batch_size: Number B of images.
        workers: Number of worker processes, at least 1, of one thread each.
        views: View groups.
        pin_memory: Whether to copy batches to pinned memory.
    """
    return DataLoader(
        Photographs(paths, chain, views),
        batch_size,
        num_workers=workers,
        persistent_workers=True,
        pin_memory=pin_memory,
        drop_last=True,
        collate_fn=default_collate,
    )


def draw_photographs(folder: Path) -> None:
    """Writes four small images of noise, for a smoke run without photographs."""
    rng = np.random.default_rng(0)
    for index in range(4):
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.jpg"), cv2.resize(coarse, (160, 120)))


def list_photographs(folder: str | Path) -> list[Path]:
    """Returns the images of a folder, which are all read again and again.

    Raises:
        FileNotFoundError: If it does not exist or has none.
        ValueError: If one is no image that OpenCV reads.
    """
    photographs = list_images(folder)
    broken = [path for path in photographs if not cv2.haveImageReader(str(path))]
    if broken:
        raise ValueError(
            f"{len(broken)} of {len(photographs)} photographs cannot be read, such as {broken[0]}. "
            "Repair or remove them."
        )
    return photographs

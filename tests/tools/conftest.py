"""A folder of images for the tools, and what makes a run on it short."""

from __future__ import annotations

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Two folders of classes with eight images each."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("dark", "bright")):
        (root / name).mkdir()
        for index in range(8):
            image = rng.integers(0, 100, (32, 32, 3)) + 150 * label
            cv2.imwrite(str(root / name / f"{index}.png"), image.astype(np.uint8))
    return root


@pytest.fixture(scope="session")
def small(images):
    """Changes that make the CIFAR-10 config a run of seconds on those images."""
    return [
        f"train_dataloader.dataset.data_root={images}",
        f"val_dataloader.dataset.data_root={images}",
        f"val_cfg.bank_dataloader.dataset.data_root={images}",
        "val_dataloader.dataset.every=1",
        "val_cfg.bank_dataloader.dataset.every=1",
        "train_dataloader.batch_size=4",
        "train_dataloader.num_workers=1",
        "model.backbone.arch.num_layers=1",
        "default_hooks.logger.interval=1",
        "train_cfg.max_epochs=2",
    ]

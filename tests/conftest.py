"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import format_once
import mmengine.device.utils
import mmpretrain.models  # noqa: F401  (before the heap is frozen)
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

DATA = Path(__file__).parent / "data"
WHOLE_RUNS = ("configs", "docs", "engine", "test_wheel.py", "tools")
"""Folders and files of tests that train, install or build."""


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist hands out files in the order below, not those with most tests first.
    config.option.loadscopereorder = False
    format_once.install()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first: no worker is alone with one at the end.

    Those are the files of whole runs; among them and among others those with most tests.
    """
    tests = Counter(item.path for item in items)

    def order(item: pytest.Item) -> tuple[bool, int, Path]:
        place = item.path.relative_to(DATA.parent).parts[0]
        return place in WHOLE_RUNS, tests[item.path], item.path

    items.sort(key=order, reverse=True)


def pytest_collection_finish() -> None:
    """Takes what the imports made out of garbage collections.

    mmengine's data sets call for a full one each time that one is built, and with the objects of
    torch and mmpretrain in the heap that takes a third of a second, three times a run.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _on_the_cpu():
    """Computes on the CPU, also where there is a GPU, for numbers that are the same everywhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.device.utils, "DEVICE", "cpu")
        yield


@pytest.fixture(autouse=True)
def _default_scope():
    """Builds from configs as a run of mmpretrain does."""
    init_default_scope("mmpretrain")


@pytest.fixture(scope="session")
def golden():
    """Returns arrays of the reference implementation.

    ``golden(topic, prefix)`` maps the names below the prefix to tensors, or to NumPy arrays where
    they hold names.
    """

    def load(topic: str, prefix: str = "") -> dict[str, torch.Tensor | np.ndarray]:
        with np.load(DATA / f"{topic}.npz") as arrays:
            return {
                name.removeprefix(prefix): torch.from_numpy(array)
                if array.dtype.kind != "U"
                else array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }

    return load

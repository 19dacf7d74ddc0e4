"""Photographs are loaded as the pretraining configs load them."""

from __future__ import annotations

import cv2
import pytest
import torch
from mmpretrain.structures import DataSample

from common import view_loader as module
from common.view_chains import OURS, PILLOW
from common.view_loader import draw_photographs, view_loader

VIEWS = [{"num": 2, "size": 32, "scale": (0.4, 1.0)}, {"num": 3, "size": 16, "scale": (0.1, 0.4)}]


@pytest.fixture
def paths(tmp_path):
    draw_photographs(tmp_path)
    return [str(path) for path in sorted(tmp_path.iterdir())]


@pytest.mark.parametrize(("chain", "dtype"), [(OURS, torch.uint8), (PILLOW, torch.float32)])
def test_views_come_stacked_and_photographs_come_again(paths, chain, dtype):
    batches = iter(view_loader(paths, chain, batch_size=3, workers=1, views=VIEWS))
    for _ in range(2):
        batch = next(batches)
        shapes = [tuple(view.shape) for view in batch["inputs"]]
        assert shapes == [(3, 3, 32, 32)] * 2 + [(3, 3, 16, 16)] * 3
        assert {view.dtype for view in batch["inputs"]} == {dtype}
        # As in the configs; the paper's chain has none.
        samples = batch.get("data_samples", [])
        assert len(samples) == (3 if chain == OURS else 0)
        assert all(isinstance(sample, DataSample) for sample in samples)


def test_workers_have_one_thread(paths, monkeypatch):
    def threads(path):
        return [torch.tensor([torch.get_num_threads(), cv2.getNumThreads()])]

    monkeypatch.setattr(module, "chains", lambda views, names: dict.fromkeys(names, threads))
    batch = next(iter(view_loader(paths, OURS, batch_size=2, workers=1)))
    assert batch["inputs"][0].tolist() == [[1, 1], [1, 1]]

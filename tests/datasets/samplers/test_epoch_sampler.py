"""The order of the images and the seeds of their views."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner

from mmdino.datasets.samplers import EpochSampler, SeededIndex, epoch_sampler


def build(size=10, epoch=0, **options):
    sampler = DATA_SAMPLERS.build(
        {"type": "mmdino.EpochSampler", "dataset": range(size), "seed": 5, **options}
    )
    sampler.set_epoch(epoch)
    return sampler


@pytest.fixture
def rank(monkeypatch):
    """Makes samplers see the given rank and world size."""

    def choose(rank, world_size):
        monkeypatch.setattr(epoch_sampler, "get_dist_info", lambda: (rank, world_size))

    return choose


def seeds(sampler):
    return {int(index): index.seed for index in sampler}


def test_order_follows_from_seed_and_epoch():
    assert list(build()) == list(build())
    orders = [list(build(epoch=0)), list(build(epoch=1)), list(build(seed=7))]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len(set(map(tuple, orders))) == 3
    assert list(range(10)) not in orders
    assert list(build(shuffle=False)) == list(range(10))


def test_order_does_not_follow_from_the_global_generator():
    torch.manual_seed(0)
    first = list(build())
    torch.manual_seed(1)
    assert list(build()) == first


def test_seed_of_a_draw_is_run_epoch_and_image():
    assert seeds(build(epoch=3)) == {index: (5, 3, index) for index in range(10)}


@pytest.mark.parametrize("world_size", [2, 5])
def test_ranks_share_the_images_of_each_step(rank, world_size):
    """After any number of steps the ranks together have read what one process has read."""
    alone = list(build(epoch=1))
    parts = []
    for number in range(world_size):
        rank(number, world_size)
        part = build(epoch=1)
        assert len(part) == len(list(part)) == 10 // world_size
        parts.append(list(part))
    merged = [index for step in zip(*parts, strict=True) for index in step]
    assert merged == alone
    assert [index.seed for index in merged] == [index.seed for index in alone]


def test_order_is_padded_to_the_same_number_for_all_ranks(rank):
    alone, parts = list(build()), []
    for number in range(4):
        rank(number, 4)
        parts.append(list(build()))
        assert len(build()) == 3
    merged = [index for step in zip(*parts, strict=True) for index in step]
    assert merged == [*alone, *alone[:2]]


@pytest.mark.parametrize("world_size", [1, 2])
def test_start_skips_images(rank, world_size):
    rank(world_size - 1, world_size)
    sampler = build(epoch=2)
    whole = list(sampler)
    sampler.set_start(3)
    assert list(sampler) == whole[3:]
    assert [index.seed for index in sampler] == [index.seed for index in whole[3:]]
    assert len(sampler) == len(whole), "the length of an epoch stays"
    sampler.set_start(len(whole))
    assert list(sampler) == []
    sampler.set_start(0)
    assert list(sampler) == whole


def test_without_a_seed_one_is_drawn():
    np.random.seed(0)
    first, second = EpochSampler(range(10)), EpochSampler(range(10))
    assert first.seed != second.seed


def test_seeded_index_is_an_index_and_survives_pickling():
    """Data loaders pickle it for their workers."""
    index = pickle.loads(pickle.dumps(SeededIndex(3, (5, 0, 3))))
    assert "abcdef"[index] == "d"
    assert index.seed == (5, 0, 3)


def test_views_are_the_same_with_any_number_of_workers(tmp_path):
    rng = np.random.default_rng(0)
    for name in range(6):
        image = rng.integers(256, size=(24, 20, 3), dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    config = {
        "dataset": {
            "type": "mmdino.ImageFolder",
            "data_root": str(tmp_path),
            "pipeline": [
                {"type": "LoadImageFromFile"},
                {
                    "type": "mmdino.MultiCropTransform",
                    "views": [
                        {"num": 2, "size": 16, "scale": (0.4, 1.0), "blur_prob": 0.5},
                        {"num": 2, "size": 8, "scale": (0.05, 0.4)},
                    ],
                },
                {"type": "PackInputs"},
            ],
        },
        "sampler": {"type": "mmdino.EpochSampler"},
        "batch_size": 2,
        "collate_fn": {"type": "default_collate"},
    }

    def views_of_two_epochs(workers):
        loader = Runner.build_dataloader({**config, "num_workers": workers}, seed=5)
        epochs = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            epochs.append([view for batch in loader for views in batch["inputs"] for view in views])
        return epochs

    alone, shared = views_of_two_epochs(workers=0), views_of_two_epochs(workers=2)
    assert [len(views) for views in alone] == [24, 24]
    for views, same in zip(alone, shared, strict=True):
        assert all(map(torch.equal, views, same))
    drawn = {view.numpy().tobytes() for views in alone for view in views}
    assert len(drawn) == 48, "each epoch draws other views"

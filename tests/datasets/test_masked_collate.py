"""The collate function that draws masks from the seeds of a batch's samples."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import FUNCTIONS, TRANSFORMS
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

from mmdino.datasets import EpochSampler
from mmdino.datasets.samplers import SeededIndex

SIZE, PATCH = 32, 4
OPTIONS = {"view_size": SIZE, "patch_size": PATCH}


def sample(index, seed=0, size=(SIZE, SIZE), views=4):
    """A sample whose view v is filled with 10 * index + v; the first two views are global."""
    shapes = [size] * 2 + [(16, 16)] * (views - 2)
    data_sample = DataSample()
    sample_idx = index if seed is None else SeededIndex(index, (seed, 0, index))
    data_sample.set_metainfo({"sample_idx": sample_idx})
    inputs = [torch.full((3, *shape), 10 * index + v) for v, shape in enumerate(shapes)]
    return {"inputs": inputs[:views], "data_samples": data_sample}


def collate(batch, **options):
    return FUNCTIONS.get("mmdino.BlockMasks")(batch, **OPTIONS | options)


def test_a_batch_is_collated_as_without_masks():
    batch = [sample(i) for i in range(3)]
    found, expected = collate(batch), pseudo_collate(batch)
    assert found.keys() - expected.keys() == {"masks", "mask_indices"}
    assert all(
        torch.equal(a, b)
        for views, others in zip(found["inputs"], expected["inputs"], strict=True)
        for a, b in zip(views, others, strict=True)
    )
    assert found["data_samples"] == expected["data_samples"]


@pytest.mark.parametrize("case", ["batch", "odd", "small_prob"])
def test_views_are_stacked_in_the_order_of_the_reference(golden, case):
    arrays = golden("dinov2_masking", f"{case}/")
    batch = [sample(i, views=5) for i in range(int(arrays["images"]))]
    views = [torch.stack(view) for view in collate(batch)["inputs"]]
    order_global = torch.cat(views[:2])[:, 0, 0, 0]
    order_local = torch.cat(views[2:])[:, 0, 0, 0] + 100 - 2
    assert torch.equal(order_global.double(), arrays["order_global"].flatten())
    assert torch.equal(order_local.double(), arrays["order_local"].flatten())


@pytest.mark.parametrize("num_images", [1, 3, 4])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_masks_are_those_of_the_crops_with_their_indices(num_images, size):
    batch = [sample(i, size=size) for i in range(num_images)]
    found = collate(batch, view_size=size)
    masks = found["masks"]
    assert masks.dtype == torch.bool
    assert masks.shape == (2, num_images, size[0] * size[1] // PATCH**2)
    assert masks.any(-1).sum() == num_images
    assert torch.equal(masks.flatten().nonzero().squeeze(1), found["mask_indices"])


def test_masks_depend_on_all_seeds_and_nothing_else():
    def masks(indices, run_seed=0):
        np.random.seed(torch.seed() % 2**32)
        return collate([sample(i, run_seed) for i in indices])["masks"]

    first = masks([3, 5, 7])
    assert torch.equal(first, masks([3, 5, 7]))
    for indices, run_seed in (([3, 5, 8], 0), ([4, 5, 7], 0), ([3, 7, 5], 0), ([3, 5, 7], 1)):
        assert not torch.equal(first, masks(indices, run_seed))


def test_masks_without_seeds_follow_numpys_generator():
    def masks(seed):
        np.random.seed(seed)
        return collate([sample(i, seed=None) for i in range(4)])["masks"]

    assert torch.equal(masks(0), masks(0))
    assert not torch.equal(masks(0), masks(1))


def test_no_crop_is_masked_without_a_probability():
    found = collate([sample(0), sample(1)], probability=0)
    assert not found["masks"].any()
    assert found["mask_indices"].shape == (0,)


class Images(Dataset):
    """A data set whose pipeline ends with ``PackInputs``, as one of mmpretrain does."""

    pack = TRANSFORMS.build({"type": "mmpretrain.PackInputs"})

    def __len__(self):
        return 14

    def __getitem__(self, index):
        return self.pack({"img": [np.zeros((SIZE, SIZE, 3), np.uint8)] * 2, "sample_idx": index})


def epoch(num_workers=0, start=0):
    """Masks of the batches of the second epoch of a loader that mmengine builds."""
    images = Images()
    sampler = EpochSampler(images, seed=3)
    sampler.set_epoch(1)
    sampler.set_start(start)
    loader = Runner.build_dataloader(
        {
            "dataset": images,
            "sampler": sampler,
            "batch_size": 4,
            "num_workers": num_workers,
            "collate_fn": {"type": "mmdino.BlockMasks", **OPTIONS},
        },
        seed=num_workers,
    )
    assert isinstance(loader.collate_fn, partial)
    return [batch["masks"] for batch in loader]


def test_neither_workers_nor_a_resume_change_the_masks():
    expected = epoch()
    assert [masks.shape[1] for masks in expected] == [4, 4, 4, 2]
    for found, kept in ((epoch(num_workers=2), expected), (epoch(start=8), expected[2:])):
        assert len(found) == len(kept)
        assert all(torch.equal(a, b) for a, b in zip(found, kept, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_size": 5}, "view_size=32, which patch_size=5 does not divide.*multiple of"),
        ({"patch_size": 16}, r"a grid of 2 x 2 patches is too small.*patch_size at most 10"),
        (
            {"view_size": (8, 32)},
            "a grid of 2 x 8 patches is too small.*at least 3 patches a side",
        ),
        ({"view_size": (32, 32, 3)}, r"view_size=\(32, 32, 3\); it must be .* \(height, width\)"),
        ({"ratio": (0.5, 0.1)}, "the first must not be above the second"),
        ({"ratio": (0.0, 0.01)}, "less than one of the 8 x 8 patches.*larger ratio"),
        ({"view_size": 64}, r"view_size=\(64, 64\), but a global view has size \(32, 32\)"),
        ({"num_global_views": 3}, r"a global view has size \(16, 16\).*num_global_views \(3\)"),
        ({"num_global_views": 5}, r"5 global views of each image, but a sample has 4 view\(s\)"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=f"BlockMasks .*{message}"):
        collate([sample(0), sample(1)], **options)


@pytest.mark.parametrize("ratio", [0.5, (0.1,), "ab"])
def test_a_ratio_is_two_fractions(ratio):
    with pytest.raises(TypeError, match=f"BlockMasks got ratio{'' if ratio == 'ab' else '='}"):
        collate([sample(0)], ratio=ratio)


def test_a_sample_without_views_is_refused():
    with pytest.raises(ValueError, match=re.escape("a sample has no list of views. Put")):
        collate([{"inputs": torch.zeros(3, SIZE, SIZE)}])

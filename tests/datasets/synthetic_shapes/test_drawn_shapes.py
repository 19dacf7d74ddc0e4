"""DrawnShapes and the functions that draw it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.registry import DATASETS
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

from mmdino.datasets import DrawnShapes
from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.datasets.synthetic_shapes.shape_painter import (
    DARK_RANGE,
    KINDS,
    LIGHT_RANGE,
    Pose,
    draw_pose,
    paint_shape,
    shape_coordinates,
)

kinds = pytest.mark.parametrize("kind", list(KINDS))


def build(**kwargs) -> DrawnShapes:
    return DATASETS.build({"type": "mmdino.DrawnShapes", "num_images": 20, **kwargs})


def images_of(dataset: DrawnShapes) -> np.ndarray:
    return np.stack([dataset.get_data_info(i)["img"] for i in range(len(dataset))])


def test_sample_has_what_pipelines_and_messages_need():
    sample = build(image_size=48).get_data_info(12)

    assert sample["img"].shape == (48, 48, 3)
    assert sample["img"].dtype == np.uint8
    assert sample["gt_seg_map"].shape == (48, 48)
    assert sample["gt_seg_map"].dtype == np.uint8
    assert sample["img_shape"] == sample["ori_shape"] == (48, 48)
    assert sample["img_path"] == "drawn_shapes/train/000012"
    assert sample["seg_fields"] == ["gt_seg_map"]


def test_classes_are_the_kinds_of_shape():
    assert build(lazy_init=True).metainfo["classes"] == tuple(KINDS)


def test_same_arguments_draw_the_same_images():
    one, other = build(), build()

    np.testing.assert_array_equal(images_of(one), images_of(other))
    np.testing.assert_array_equal(one.get_gt_labels(), other.get_gt_labels())


def test_a_larger_set_begins_with_a_smaller_one():
    small, large = build(num_images=7), build(num_images=31)

    np.testing.assert_array_equal(images_of(small), images_of(large)[:7])
    np.testing.assert_array_equal(small.get_gt_labels(), large.get_gt_labels()[:7])


@pytest.mark.parametrize("change", [{"split": "test"}, {"split": "val"}, {"seed": 1}])
def test_splits_and_seeds_share_no_image(change):
    ours = {image.tobytes() for image in images_of(build())}
    theirs = {image.tobytes() for image in images_of(build(**change))}

    assert len(ours) == len(theirs) == 20
    assert ours.isdisjoint(theirs)


def test_every_ten_images_hold_each_class_once_in_changing_order():
    labels = build(num_images=100).get_gt_labels().reshape(10, 10)

    np.testing.assert_array_equal(np.sort(labels), np.tile(np.arange(10), (10, 1)))
    assert len(np.unique(labels, axis=0)) > 1


def test_seg_map_is_the_object_or_its_class():
    by_object, by_class = build(), build(seg_map="class")
    for i in range(10):
        mask = by_object.get_data_info(i)["gt_seg_map"]
        sample = by_class.get_data_info(i)

        assert set(np.unique(mask)) == {0, 1}
        np.testing.assert_array_equal(sample["gt_seg_map"], mask * (sample["gt_label"] + 1))


def test_seg_map_is_where_the_object_is_painted():
    dataset = build(num_images=10)
    low, high = LIGHT_RANGE[0], DARK_RANGE[1]
    for i in range(10):
        sample = dataset.get_data_info(i)
        image = sample["img"].astype(int)
        tone_of_object = (image >= low).all(axis=2) | (image <= high).all(axis=2)

        assert tone_of_object[sample["gt_seg_map"] == 1].all()
        assert not tone_of_object[sample["gt_seg_map"] == 0].all()


@kinds
def test_colours_of_the_object_stay_inside_the_mask_and_those_of_the_background_outside(kind):
    def paint(object_seed: int, background_seed: int) -> tuple[np.ndarray, np.ndarray]:
        object_rng = np.random.default_rng(object_seed)
        background_rng = np.random.default_rng(background_seed)
        return paint_shape(kind, 64, Pose(30.0, 34.0, 25.0, 0.4), object_rng, background_rng)

    image, mask = paint(0, 1)
    other_object, same_mask = paint(2, 1)
    other_background, _ = paint(0, 2)

    np.testing.assert_array_equal(mask, same_mask)
    np.testing.assert_array_equal((image != other_object).any(axis=2) & ~mask, False)
    np.testing.assert_array_equal((image != other_background).any(axis=2) & mask, False)
    assert (image != other_object).any(axis=2)[mask].mean() > 0.95
    assert (image != other_background).any(axis=2)[~mask].mean() > 0.95


@kinds
def test_the_whole_shape_lies_in_the_image(kind):
    for seed in range(20):
        pose = draw_pose(np.random.default_rng(seed), 64)
        # A wider canvas around the image shows what would be cut off.
        wide = pose._replace(x=pose.x + 32, y=pose.y + 32)
        mask = KINDS[kind].contour(*shape_coordinates(wide, 128))
        inside = mask[32:96, 32:96]

        assert inside.sum() == mask.sum()
        assert 0.04 < inside.mean() < 0.6


@kinds
def test_rotation_turns_clockwise_and_radius_scales(kind):
    def mask(angle: float, radius: float, size: int) -> np.ndarray:
        pose = Pose(size / 2, size / 2, radius, angle)
        return KINDS[kind].contour(*shape_coordinates(pose, size))

    upright = mask(0.0, 20.3, 64)
    turned, doubled = mask(np.pi / 2, 20.3, 64), mask(0.0, 40.6, 128)

    # Rounding may decide otherwise where a pixel's centre lies on an edge.
    assert (np.rot90(upright, -1) != turned).mean() < 0.01
    assert doubled.mean() == pytest.approx(upright.mean(), rel=0.05)


def test_kinds_differ_in_contour():
    pose = Pose(32.0, 32.0, 28.0, 0.0)
    masks = [kind.contour(*shape_coordinates(pose, 64)).tobytes() for kind in KINDS.values()]

    assert len(set(masks)) == len(KINDS)


def test_the_index_asked_for_comes_back_with_its_seed():
    index = SeededIndex(3, (0, 1, 3))

    assert build().get_data_info(index)["sample_idx"] is index


def test_changing_a_sample_leaves_the_set_alone():
    dataset = build()
    before = images_of(dataset)
    sample = dataset.get_data_info(0)
    sample["img"][:] = 0
    sample["gt_seg_map"][:] = 9

    np.testing.assert_array_equal(images_of(dataset), before)
    assert dataset.get_data_info(0)["gt_seg_map"].max() == 1


def test_subsets_keep_their_images():
    whole = build()
    for subset in (build(indices=[5, 3]), whole.get_subset([5, 3])):
        np.testing.assert_array_equal(images_of(subset), images_of(whole)[[5, 3]])
        assert [subset.get_data_info(i)["img_id"] for i in range(2)] == [5, 3]


def test_pickled_set_holds_the_same_images():
    dataset = build()

    np.testing.assert_array_equal(
        images_of(pickle.loads(pickle.dumps(dataset))), images_of(dataset)
    )


def test_workers_change_nothing():
    def load(num_workers: int) -> list[tuple[np.ndarray, int, int]]:
        dataset = build(pipeline=[{"type": "PackInputs"}], test_mode=True)
        loader = DataLoader(
            dataset,
            batch_size=6,
            num_workers=num_workers,
            sampler=DefaultSampler(dataset, shuffle=False),
            collate_fn=pseudo_collate,
        )
        return [
            (image.numpy(), int(sample.gt_label), sample.sample_idx)
            for batch in loader
            for image, sample in zip(batch["inputs"], batch["data_samples"], strict=True)
        ]

    for alone, shared in zip(load(0), load(2), strict=True):
        np.testing.assert_array_equal(alone[0], shared[0])
        assert alone[1:] == shared[1:]


def test_multi_crop_takes_the_images_as_they_are():
    views = [
        {"num": 2, "size": 32, "scale": (0.5, 1.0)},
        {"num": 3, "size": 16, "scale": (0.2, 0.5)},
    ]
    pipeline = [{"type": "mmdino.MultiCropTransform", "views": views}, {"type": "PackInputs"}]
    sample = build(pipeline=pipeline)[SeededIndex(4, (0, 0, 4))]

    assert isinstance(sample["data_samples"], DataSample)
    assert [tuple(view.shape) for view in sample["inputs"]] == [(3, 32, 32)] * 2 + [(3, 16, 16)] * 3


def test_repr_says_what_is_drawn():
    text = repr(build(split="val", seed=4, image_size=32))

    assert "20" in text
    assert "val" in text
    assert "32" in text


@pytest.mark.parametrize(
    ("argument", "error", "says"),
    [
        ({"num_images": 0}, ValueError, "num_images must be at least 1, got 0"),
        ({"num_images": 2.5}, TypeError, "num_images must be an integer"),
        ({"num_images": True}, TypeError, "num_images must be an integer"),
        ({"image_size": 8}, ValueError, "image_size must be at least 16, got 8"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"split": "training"}, ValueError, "split must be one of train, val, test"),
        ({"seg_map": "instance"}, ValueError, "seg_map must be one of object, class"),
    ],
)
def test_bad_arguments_are_refused(argument, error, says):
    with pytest.raises(error, match=says):
        DrawnShapes(**argument)

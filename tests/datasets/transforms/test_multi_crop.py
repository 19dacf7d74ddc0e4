"""MultiCropTransform in a pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.registry import TRANSFORMS
from torch.utils.data import DataLoader, Dataset

from mmdino.datasets.samplers.seeded_index import SeededIndex
from mmdino.datasets.transforms import MultiCropTransform
from mmdino.datasets.transforms.views import ops as view_ops

COLORLESS = {"saturation": 0, "hue": 0, "gray_prob": 0}
STILL = {"flip_prob": 0, "jitter_prob": 0, "gray_prob": 0}
WHOLE = {"scale": (1, 1), "ratio": (1, 1)}


def draw_image(height: int = 60, width: int = 80, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def draw_sample(seed: tuple[int, ...] = (0, 0, 7), **image) -> dict:
    return {"img": draw_image(**image), "sample_idx": SeededIndex(seed[-1], seed)}


def build(*views: dict, **options) -> MultiCropTransform:
    transform = {"type": "mmdino.MultiCropTransform", "views": list(views), **options}
    return TRANSFORMS.build(transform)


def test_default_is_the_papers_views_globals_first():
    transform = TRANSFORMS.build({"type": "mmdino.MultiCropTransform"})
    assert isinstance(transform, MultiCropTransform)
    assert [group.scale for group in transform.groups] == [(0.4, 1.0), (0.4, 1.0), (0.05, 0.4)]
    assert [group.blur_prob for group in transform.groups] == [1.0, 0.1, 0.5]
    assert [group.solarize_prob for group in transform.groups] == [0.0, 0.2, 0.0]

    views = transform(draw_sample())["img"]

    assert [view.shape for view in views] == [(224, 224, 3)] * 2 + [(96, 96, 3)] * 8
    assert all(view.dtype == np.uint8 and view.flags.c_contiguous for view in views)


def test_size_may_be_height_and_width():
    transform = build(
        {"size": [32, 48], "scale": [0.4, 1.0]}, {"num": 2, "size": 16, "scale": [0.05, 0.4]}
    )
    shapes = [view.shape for view in transform(draw_sample())["img"]]
    assert shapes == [(32, 48, 3), (16, 16, 3), (16, 16, 3)]


@pytest.mark.parametrize("color", ["sequential", "fused"])
def test_undistorted_crops_change_no_view(color):
    groups = [
        {"size": 24, "scale": (0.3, 1.0), "blur_prob": 0.5, "solarize_prob": 0.5},
        {"size": 24, "scale": (0.3, 1.0)},
        {"num": 2, "size": 16, "scale": (0.1, 0.4)},
    ]
    with_clean = [{**group, "clean_size": 40} for group in groups[:2]] + groups[2:]
    for seed in range(5):
        plain = build(*groups, color=color)(draw_sample((0, seed, 1)))
        found = build(*with_clean, color=color)(draw_sample((0, seed, 1)))
        assert "clean_img" not in plain
        assert [view.shape for view in found["clean_img"]] == [(40, 40, 3)] * 2
        assert all(map(np.array_equal, found["img"], plain["img"]))


@pytest.mark.parametrize("color", ["sequential", "fused"])
def test_undistorted_crops_show_the_regions_of_their_views(color):
    """Without colour changes a view equals its crop at its own size, flipped or not."""
    sizes = {"size": (24, 30), "scale": (0.3, 1.0), "jitter_prob": 0, "gray_prob": 0}
    groups = [{**sizes, "num": 2, "clean_size": (24, 30)}, {**sizes, "num": 1}]
    flips = []
    for seed in range(8):
        sample = build(*groups, color=color)(draw_sample((0, seed, 1)))
        assert len(sample["clean_img"]) == 2
        assert all(map(np.array_equal, sample["clean_img"], sample["img"][:2]))
        still = [{**group, "flip_prob": 0} for group in groups]
        unflipped = build(*still, color=color)(draw_sample((0, seed, 1)))["clean_img"]
        flips += map(np.array_equal, sample["clean_img"], unflipped)
    assert len(set(flips)) == 2


def test_larger_undistorted_crops_show_the_regions_of_distorted_views():
    """Shrunk to the view, of a smooth image, they differ from it by interpolation only."""
    rows, columns = np.mgrid[:120, :160]
    image = np.stack([rows * 2, columns, (rows + columns) / 2], axis=-1).astype(np.uint8)
    group = {"num": 2, "size": 24, "scale": (0.3, 1.0), "jitter_prob": 0, "gray_prob": 0}
    sample = {"img": image, "sample_idx": SeededIndex(1, (0, 4, 1))}
    result = build({**group, "clean_size": 48})(sample)
    for view, clean in zip(result["img"], result["clean_img"], strict=True):
        shrunk = view_ops.resize_crop(clean, (0, 0, 48, 48), (24, 24)).astype(int)
        assert abs(shrunk - view).max() <= 2


def test_only_the_image_and_its_shape_change_in_the_sample():
    sample = dict(draw_sample(), img_path="a.jpg", ori_shape=(60, 80), img_shape=(60, 80))
    image, before = sample["img"], sample["img"].copy()

    result = MultiCropTransform()(sample)

    assert set(result) == {"img", "sample_idx", "img_path", "ori_shape"}
    np.testing.assert_array_equal(image, before)
    assert not any(np.shares_memory(image, view) for view in result["img"])


def test_views_pass_through_the_packing_of_mmpretrain():
    pipeline = Compose(
        [
            {
                "type": "mmdino.MultiCropTransform",
                "views": [
                    {"num": 2, "size": 32, "scale": (0.4, 1.0)},
                    {"num": 3, "size": 16, "scale": (0.05, 0.4)},
                ],
            },
            {"type": "PackInputs"},
        ]
    )
    inputs = pipeline(draw_sample())["inputs"]
    assert [tuple(view.shape) for view in inputs] == [(3, 32, 32)] * 2 + [(3, 16, 16)] * 3


def test_a_group_without_views_is_left_out():
    groups = ({"num": 2, "size": 16, "scale": (0.4, 1)}, {"num": 4, "size": 8, "scale": (0.1, 0.4)})
    views = build(groups[0], {**groups[1], "num": 0})(draw_sample())["img"]
    np.testing.assert_array_equal(views, build(groups[0])(draw_sample())["img"])


def test_views_follow_from_the_seed_of_the_sample():
    def views_of(seed):
        return build({"num": 4, "size": 16, "scale": (0.1, 1)})(draw_sample(seed))["img"]

    first = views_of((0, 3, 7))
    np.testing.assert_array_equal(first, views_of((0, 3, 7)))
    for other in ((1, 3, 7), (0, 4, 7), (0, 3, 8)):
        assert not np.array_equal(first, views_of(other))


def test_views_without_a_seed_follow_numpys_global_generator():
    def views_of(**sample):
        return build({"num": 2, "size": 16, "scale": (0.1, 1)})(dict(img=draw_image(), **sample))[
            "img"
        ]

    np.random.seed(5)
    first, second = views_of(), views_of(sample_idx=7)
    assert not np.array_equal(first, second)
    np.random.seed(5)
    np.testing.assert_array_equal(first, views_of())
    np.testing.assert_array_equal(second, views_of(sample_idx=7))


class Views(Dataset):
    """Six samples, each of two views."""

    def __init__(self):
        self.transform = build({"num": 2, "size": 8, "scale": (0.1, 1)})

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return np.stack(self.transform(draw_sample((0, 0, index)))["img"])


def test_views_do_not_depend_on_the_number_of_workers():
    alone, shared = (
        torch.stack(list(DataLoader(Views(), batch_size=None, num_workers=workers)))
        for workers in (0, 2)
    )
    torch.testing.assert_close(alone, shared, rtol=0, atol=0)
    assert len(alone.flatten(2).flatten(0, 1).unique(dim=0)) == 12


@pytest.mark.parametrize(
    "change",
    [
        {"flip_prob": 0.3},
        {"jitter_prob": 0.3, "hue": 0.3},
        {"gray_prob": 0.3},
        {"blur_prob": 0.3, "blur_sigma": (1, 2)},
        {"solarize_prob": 0.3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_change_comes_with_its_probability(change):
    draws = 400
    views = build({"num": draws, "size": 12, **WHOLE, **STILL, **change})(
        draw_sample(height=12, width=12)
    )["img"]
    changed = sum(not np.array_equal(view, draw_image(12, 12)) for view in views) / draws
    assert abs(changed - 0.3) < 3.5 * np.sqrt(0.3 * 0.7 / draws)


def test_blur_is_drawn_afresh_for_every_view():
    group = dict(num=20, size=12, **WHOLE, **STILL, blur_prob=1.0, blur_sigma=(0.5, 2))
    views = build(group)(draw_sample(height=12, width=12))["img"]
    assert len({view.tobytes() for view in views}) == 20


@pytest.mark.parametrize("color", ["fused", "sequential"])
def test_changes_come_in_the_papers_order(color):
    group = dict(num=2, size=30, **WHOLE, flip_prob=1, jitter_prob=1, gray_prob=1, blur_prob=1)
    # a jitter of zero amount leaves the view unchanged, so the expected view is known
    group.update(brightness=0, contrast=0, saturation=0, hue=0, blur_sigma=(1, 1), solarize_prob=1)
    view = build(group, color=color)(draw_sample(height=30, width=30))["img"][0]
    expected = view_ops.to_gray(view_ops.flip(draw_image(30, 30)))
    blur = view_ops.truncated_blur if color == "fused" else view_ops.gaussian_blur
    np.testing.assert_array_equal(view, view_ops.solarize(blur(expected, 1.0)))


@pytest.mark.parametrize("seed", range(5))
def test_sequential_colours_are_the_single_changes_in_the_order_drawn(seed):
    """The views of the first release, so that its runs can be reproduced."""
    group = dict(num=2, size=24, scale=(0.3, 1), blur_prob=0.5, solarize_prob=0.3)
    views = build(group, color="sequential")(draw_sample((seed,)))["img"]

    rng, image = np.random.default_rng((seed,)), draw_image()
    for view in views:
        box = view_ops.draw_crop_box(rng, 60, 80, (0.3, 1), (3 / 4, 4 / 3))
        expected = view_ops.resize_crop(image, box, (24, 24))
        if rng.random() < 0.5:
            expected = view_ops.flip(expected)
        if rng.random() < 0.8:
            for step in rng.permutation(4):
                name = ("brightness", "contrast", "saturation", "hue")[step]
                low, high = {2: (0.8, 1.2), 3: (-0.1, 0.1)}.get(step, (0.6, 1.4))
                amount = low + (high - low) * rng.random()
                expected = getattr(view_ops, f"adjust_{name}")(expected, amount)
        if rng.random() < 0.2:
            expected = view_ops.to_gray(expected)
        if rng.random() < 0.5:
            expected = view_ops.gaussian_blur(expected, 0.1 + 1.9 * rng.random())
        if rng.random() < 0.3:
            expected = view_ops.solarize(expected, 128)
        np.testing.assert_array_equal(view, expected)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 400), (400, 5), (2, 3)])
def test_tiny_and_narrow_images_give_views(height, width):
    views = MultiCropTransform()(draw_sample(height=height, width=width))["img"]
    assert [view.shape for view in views] == [(224, 224, 3)] * 2 + [(96, 96, 3)] * 8


@pytest.mark.parametrize("color", ["fused", "sequential"])
@pytest.mark.parametrize("channels", [0, 1, 2, 3, 4, 5, 8])
def test_images_of_any_channels_take_every_colorless_change(channels, color):
    rest = dict(jitter_prob=1, blur_prob=1, solarize_prob=1, **COLORLESS)
    transform = build(dict(num=2, size=24, scale=(0.4, 1), **rest), color=color)
    image = draw_image(40, 50, channels) if channels else draw_image(40, 50, 1)[..., 0]
    for dtype, white in ((np.uint8, 1), (np.uint16, 257)):
        views = transform(dict(draw_sample(), img=image.astype(dtype) * dtype(white)))["img"]
        assert [view.shape for view in views] == [(24, 24, channels or 1)] * 2
        assert all(view.flags.c_contiguous and view.dtype == np.uint8 for view in views)


@pytest.mark.parametrize("color", ["fused", "sequential"])
def test_colour_images_of_16_bits_give_the_views_of_their_8_bits(color):
    group = dict(num=8, size=24, scale=(0.3, 1), blur_prob=0.5)
    eight, sixteen = (
        np.stack(build(group, color=color)(dict(draw_sample(), img=image))["img"]).astype(int)
        for image in (draw_image(), draw_image().astype(np.uint16) * 257)
    )
    assert np.abs(eight - sixteen).mean() < 1


@pytest.mark.parametrize("color", ["fused", "sequential"])
def test_views_are_contiguous_whatever_was_done_to_them(color):
    group = dict(num=40, size=16, scale=(0.3, 1), blur_prob=0.5, solarize_prob=0.5, gray_prob=0.5)
    read_only = draw_image()[:, ::-1]
    read_only.flags.writeable = False
    views = build(group, color=color)(dict(draw_sample(), img=read_only))["img"]
    for view in views:
        assert view.shape == (16, 16, 3)
        assert view.dtype == np.uint8
        assert view.flags.c_contiguous
        assert view.flags.writeable


def test_other_ways_to_change_colours_are_refused():
    with pytest.raises(ValueError, match="one of fused, sequential, got 'exact'"):
        MultiCropTransform(color="exact")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, "saturation, views[1].hue, views[1].gray_prob to 0"),
        ({"saturation": 0, "gray_prob": 0}, "Set views[1].hue to 0"),
        ({"jitter_prob": 0}, "Set views[1].gray_prob to 0"),
    ],
)
def test_changes_of_color_are_refused_where_there_is_none(change, named):
    transform = build(
        dict(size=24, scale=(0.4, 1), **COLORLESS), dict(size=24, scale=(0.4, 1), **change)
    )
    with pytest.raises(ValueError, match="images of 3 channels, got 1") as caught:
        transform({"img": draw_image(channels=1)})
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (draw_image().astype(np.float32), TypeError, "uint8 or uint16 array, got float32"),
        (draw_image().astype(np.int32), TypeError, "uint8 or uint16 array, got int32"),
        ([draw_image()], TypeError, "uint8 or uint16 array, got list"),
        (None, TypeError, "right after LoadImageFromFile"),
        (draw_image()[0, 0], ValueError, r"got \(3,\)"),
        (draw_image()[None], ValueError, r"got \(1, 60, 80, 3\)"),
        (draw_image()[:0], ValueError, r"got \(0, 80, 3\)"),
    ],
)
def test_other_images_are_refused(image, error, message):
    with pytest.raises(error, match=message):
        MultiCropTransform()({"img": image})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num": -1}, ValueError, r"views\[1\].num must be an int of at least 0, got -1"),
        ({"num": 1.5}, TypeError, r"views\[1\].num .* got 1.5"),
        ({"num": True}, TypeError, r"views\[1\].num .* got True"),
        ({"size": 0}, ValueError, r"views\[1\].size must be an int of at least 1, got 0"),
        ({"size": (8, -1)}, ValueError, r"views\[1\].size .* got -1"),
        ({"size": (8, 8, 8)}, TypeError, r"views\[1\].size .* got \(8, 8, 8\)"),
        ({"size": "8"}, TypeError, r"views\[1\].size .* got '8'"),
        ({"scale": (0, 1)}, ValueError, r"views\[1\].scale .* 0 < low <= high <= 1, got \(0, 1\)"),
        ({"scale": (0.5, 0.4)}, ValueError, r"views\[1\].scale"),
        ({"scale": (0.5, 1.1)}, ValueError, r"views\[1\].scale"),
        ({"scale": 0.5}, TypeError, r"views\[1\].scale must be two finite numbers .* got 0.5"),
        ({"scale": ("a", "b")}, TypeError, r"views\[1\].scale"),
        ({"ratio": (2, 1)}, ValueError, r"views\[1\].ratio"),
        ({"ratio": (1, float("inf"))}, ValueError, r"views\[1\].ratio"),
        ({"flip_prob": 1.1}, ValueError, r"views\[1\].flip_prob must be a number from 0 to 1"),
        ({"jitter_prob": -0.1}, ValueError, r"views\[1\].jitter_prob"),
        ({"gray_prob": float("nan")}, ValueError, r"views\[1\].gray_prob .* got nan"),
        ({"blur_prob": None}, TypeError, r"views\[1\].blur_prob .* got None"),
        ({"solarize_prob": 2}, ValueError, r"views\[1\].solarize_prob"),
        ({"brightness": -1}, ValueError, r"views\[1\].brightness must be a finite number >= 0"),
        ({"contrast": -1}, ValueError, r"views\[1\].contrast"),
        ({"saturation": (0, 1)}, TypeError, r"views\[1\].saturation"),
        ({"hue": 0.6}, ValueError, r"views\[1\].hue must be a number from 0 to 0.5, got 0.6"),
        ({"blur_sigma": (-1, 2)}, ValueError, r"views\[1\].blur_sigma"),
        ({"clean_size": 0}, ValueError, r"views\[1\].clean_size must be an int of at least 1"),
        ({"clean_size": "a"}, TypeError, r"views\[1\].clean_size must be an int of at least 1"),
        ({"solarize_threshold": 256}, ValueError, r"solarize_threshold .* from 0 to 255, got 256"),
        ({"blur": 1}, ValueError, r"views\[1\] has unknown fields \['blur'\]; valid .*blur_p"),
    ],
)
def test_fields_out_of_range_are_refused(change, error, message):
    group = {"size": 16, "scale": (0.4, 1)}
    with pytest.raises(error, match=message):
        MultiCropTransform([group, {**group, **change}])


@pytest.mark.parametrize(
    ("views", "error", "message"),
    [
        ([], ValueError, "at least 1 view, got 0"),
        ([{"size": 16}], ValueError, r"views\[0\] lacks .* \['scale'\]"),
        ([{"scale": (0.4, 1)}], ValueError, r"views\[0\] lacks .* \['size'\]"),
        ({"size": 16, "scale": (0.4, 1)}, TypeError, "views must be a list of dicts"),
        ([16, 16], TypeError, r"views\[0\] must be a dict .* got 16"),
        (
            [
                {"num": 8, "size": 16, "scale": (0.05, 0.4)},
                {"num": 2, "size": 32, "scale": (0.4, 1)},
            ],
            ValueError,
            r"views\[0\].size=\(16, 16\) before views\[1\].size=\(32, 32\): swap",
        ),
    ],
)
def test_invalid_view_groups_are_refused(views, error, message):
    with pytest.raises(error, match=message):
        MultiCropTransform(views)


def test_its_print_names_every_field_of_every_group():
    text = repr(MultiCropTransform())
    assert text.startswith("MultiCropTransform(color='sequential', views=[")
    assert text.count("ViewGroup(num=") == 3
    assert "num=8, size=(96, 96), scale=(0.05, 0.4)" in text


def test_a_single_view_may_be_bilinear():
    """One view with nothing but a crop, by either interpolation, of the same box."""
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    plain = {"num": 1, "size": 16, "scale": (0.3, 0.5), "flip_prob": 0, "jitter_prob": 0}
    found = []
    for interpolation in ("bilinear", "bicubic"):
        np.random.seed(0)
        group = {**plain, "gray_prob": 0, "interpolation": interpolation}
        (view,) = MultiCropTransform([group])({"img": image})["img"]
        found.append(view.astype(int))
    assert 0 < np.abs(found[0] - found[1]).mean() < 20
    # Bilinear views are smoother.
    assert found[0].std() < found[1].std()
    with pytest.raises(ValueError, match=r"views\[0\]\.interpolation must be one of bicubic"):
        MultiCropTransform([{**plain, "interpolation": "nearest"}])
    with pytest.raises(ValueError, match="at least 1 view, got 0"):
        MultiCropTransform([{**plain, "num": 0}])

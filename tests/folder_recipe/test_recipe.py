"""Which recipe is chosen for which images on which machine."""

from __future__ import annotations

import pytest

from mmdino.datasets.image_check import ImageHeader
from mmdino.folder_recipe.images import FolderFacts
from mmdino.folder_recipe.machine import Machine
from mmdino.folder_recipe.rate import Rate
from mmdino.folder_recipe.recipe import SIZES, choose

CPU = Machine("cpu", "No GPU", 16.0, 2, "bfloat16")
GPU = Machine("cuda", "Some GPU", 80.0, 16, "bfloat16")


def folder(count, *headers, unreadable=()):
    headers = headers or (ImageHeader(500, 375, 3, 8),)
    # Of the names only their number counts.
    return FolderFacts("/images", range(count), headers, unreadable, 1, "")


@pytest.mark.parametrize(
    ("count", "machine", "expected"),
    [
        (1_000, CPU, dict(batch_size=32, max_epochs=40, num_prototypes=256, momentum=0.968)),
        (10_000, CPU, dict(batch_size=64, max_epochs=14, num_prototypes=1024, momentum=0.982)),
        (100_000, CPU, dict(batch_size=64, max_epochs=3, num_prototypes=4096, momentum=0.9915)),
        (1_000_000, CPU, dict(batch_size=64, max_epochs=1, num_prototypes=4096, momentum=0.9974)),
        (1_000, GPU, dict(batch_size=32, max_epochs=1000, num_prototypes=1024, momentum=0.9987)),
        (10_000, GPU, dict(batch_size=64, max_epochs=400, num_prototypes=4096, momentum=0.9994)),
        (100_000, GPU, dict(batch_size=128, max_epochs=200, num_prototypes=16384, momentum=0.999)),
        (
            1_000_000,
            GPU,
            dict(batch_size=256, max_epochs=100, num_prototypes=65536, momentum=0.999),
        ),
    ],
)
def test_the_number_of_images_and_the_device_decide(count, machine, expected):
    recipe = choose(folder(count), machine, has_classes=True)
    assert {name: recipe[name] for name in expected} == expected
    assert recipe["network"] == ("tiny" if machine is CPU else "small")
    assert all(choice.reason.endswith(".") for choice in recipe.choices.values())


@pytest.mark.parametrize(
    ("short", "size", "expected"),
    [
        # pixels: patch, global view, local view, evaluated image, resized to
        (8, "tiny", (4, 16, 8, 16, 16)),
        (32, "tiny", (4, 24, 12, 32, 32)),
        (64, "tiny", (8, 48, 24, 64, 64)),
        (375, "tiny", (8, 64, 32, 64, 73)),
        (32, "small", (4, 24, 12, 32, 32)),
        (96, "small", (8, 72, 32, 96, 96)),
        (4000, "small", (16, 224, 96, 224, 256)),
    ],
)
def test_views_follow_the_size_of_images(short, size, expected):
    recipe = choose(folder(1000, ImageHeader(short, 2 * short, 3, 8)), GPU, size)
    names = ("patch_size", "global_size", "local_size", "eval_size", "eval_resize")
    assert tuple(recipe[name] for name in names) == expected
    for name in ("global_size", "local_size", "eval_size"):
        assert recipe[name] % recipe["patch_size"] == 0


@pytest.mark.parametrize(
    ("kinds", "expected", "said"),
    [
        ([(3, 8)], ("color", 3), "Read as 8-bit colours."),
        ([(1, 8)], ("grayscale", 1), "are grey"),
        ([(1, 8), (2, 8)], ("grayscale", 1), "are grey"),
        ([(1, 16)], ("unchanged", 1), "have 16 bits"),
        ([(3, 16)], ("unchanged", 3), "have 16 bits"),
        ([(3, 8), (1, 8)], ("color", 3), "grey images are repeated in three channels"),
        ([(4, 8), (3, 8)], ("color", 3), "transparency is dropped"),
        ([(3, 8), (3, 16)], ("color", 3), "16 bits become 8"),
        ([(1, 16), (3, 16)], ("color", 3), "16 bits become 8"),
        ([(1, 8), (1, 16)], ("grayscale", 1), "are grey"),
    ],
)
def test_channels_and_bits(kinds, expected, said):
    recipe = choose(folder(100, *(ImageHeader(64, 64, *kind) for kind in kinds)), CPU)
    assert (recipe["color_type"], recipe["channels"]) == expected
    assert said in recipe.choices["color_type"].reason


@pytest.mark.parametrize(
    ("memory", "expected"), [(80.0, (256, 1)), (20.0, (64, 4)), (0.1, (1, 256))]
)
def test_a_batch_that_does_not_fit_is_accumulated(memory, expected):
    recipe = choose(folder(10**6), Machine("cuda", "GPU", memory, 8, "float16"))
    assert (recipe["batch_size"], recipe["accumulative_counts"]) == expected
    assert recipe["lr"] == 0.0005


@pytest.mark.parametrize(("count", "batch"), [(16, 4), (20, 4), (100, 16), (128, 32)])
def test_few_images_have_some_batches_in_an_epoch(count, batch):
    recipe = choose(folder(count), CPU)
    assert recipe["batch_size"] == batch
    assert recipe.batches_an_epoch >= 4


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, dict(momentum=0.95, warmup_epochs=0.083)),
        (40, dict(num_prototypes=256, head_batch_norm=True, freeze_epochs=0, center_momentum=0.8)),
        (200, dict(num_prototypes=1024, head_batch_norm=False, freeze_epochs=1, momentum=0.9935)),
        (9999, dict(momentum=0.9995, warmup_epochs=10)),
    ],
)
def test_the_length_decides_how_slow_the_teacher_is(epochs, expected):
    recipe = choose(folder(1000), CPU, epochs=epochs, has_classes=True)
    assert {name: recipe[name] for name in expected} == expected
    assert recipe["max_epochs"] == epochs


@pytest.mark.parametrize(("epochs", "frozen"), [(1, 0), (2, 1)])
def test_prototypes_are_not_frozen_for_the_whole_run(epochs, frozen):
    """Of 400,000 images, whose single epoch is no short run."""
    recipe = choose(folder(400_000), CPU, epochs=epochs)
    assert recipe.batches > 5000
    assert recipe["freeze_epochs"] == frozen


def test_a_small_network_in_a_short_run_gets_sharp_targets_and_koleo():
    names = ("teacher_temp", "koleo_weight")
    found = {
        (size, epochs): tuple(choose(folder(1000), CPU, size, epochs)[name] for name in names)
        for size in ("tiny", "small")
        for epochs in (40, 1000)
    }
    assert found == {
        ("tiny", 40): (0.02, 0.1),
        ("tiny", 1000): (0.04, 0),
        ("small", 40): (0.04, 0),
        ("small", 1000): (0.04, 0),
    }


@pytest.mark.parametrize(("pixels", "local_views"), [(32, 0), (48, 4), (64, 4)])
def test_local_views_are_left_out_where_they_have_few_pixels(pixels, local_views):
    recipe = choose(folder(1000, ImageHeader(pixels, pixels, 3, 8)), CPU)
    assert (recipe["local_views"], recipe["local_size"] >= 16) == (local_views, local_views > 0)


@pytest.mark.parametrize("low_precision", [None, "bfloat16"])
def test_precision_is_what_the_device_computes_with(low_precision):
    recipe = choose(folder(100), Machine("cpu", "No GPU", 8.0, 1, low_precision))
    assert recipe["precision"] == (low_precision or "float32")
    assert recipe["num_workers"] == 1


@pytest.mark.parametrize(
    ("count", "has_classes", "held_out"),
    [(100, False, 0), (1000, False, 100), (10**6, False, 1000), (1000, True, 0)],
)
def test_a_part_is_held_out_where_there_is_no_knn(count, has_classes, held_out):
    recipe = choose(folder(count), CPU, has_classes=has_classes)
    assert recipe["hold_out"] == held_out
    assert recipe.batches_an_epoch == (count - held_out) // recipe["batch_size"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, dict(interval=12)),
        (0.001, dict(interval=12)),
        (0.06, dict(interval=4)),  # five epochs of 4 min, of which twelve are no multiple
        (0.3, dict(interval=1)),
        (0.4, dict(by_epoch=False, interval=3000)),
    ],
)
def test_a_killed_run_loses_at_most_20_minutes(seconds, expected):
    """A hundred epochs of 3,906 batches."""
    rate = seconds and Rate(seconds, 9, 3906, 0.0)
    recipe = choose(folder(10**6), GPU, has_classes=True, rate=rate)
    assert (recipe["checkpoint"], recipe["val_interval"]) == (expected, 12)


def test_what_cannot_be_read_raises_the_limit():
    assert choose(folder(1000), CPU)["unreadable_limit"] == 100
    recipe = choose(folder(1000, unreadable=("a.png is empty",)), CPU)
    assert recipe["unreadable_limit"] == 100 + 2 * 500


@pytest.mark.parametrize(
    ("facts", "note"),
    [
        (folder(1000, ImageHeader(8, 8, 3, 8)), "Images of 8 pixels have little"),
        (folder(1000, ImageHeader(4000, 3000, 3, 8)), "Images have 12 megapixels"),
        (folder(100), "100 images are few"),
        (folder(1000), "so no k-NN: in the log, features/neighbor_overlap"),
        (folder(100), "so no k-NN: in the log, kl"),
    ],
)
def test_what_the_user_should_know_is_said(facts, note):
    assert note in " ".join(choose(facts, CPU).notes)
    assert note not in " ".join(choose(folder(1000), CPU, has_classes=True).notes)


@pytest.mark.parametrize(
    ("count", "size", "message"),
    [
        (3, None, r"'/images' has 3 image\(s\) that can be read, too few"),
        (1000, "huge", f"invalid size 'huge': expected one of {', '.join(SIZES)}"),
    ],
)
def test_what_cannot_be_trained_is_refused(count, size, message):
    with pytest.raises(ValueError, match=message):
        choose(folder(count), CPU, size)

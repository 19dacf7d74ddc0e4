"""The plan of a comparison: everything is checked before anything is trained."""

from __future__ import annotations

import re

import pytest
import tiny_comparison
import tiny_tools

from mmdino.comparison.comparable import differences, training_data_notes
from mmdino.comparison.plan import Budget, apply_budget, epochs_of_images, load_methods, make_runs


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A config of two epochs of two iterations with four of eight images each."""
    root = tmp_path_factory.mktemp("configs")
    tiny_tools.write_configs(root)
    return str(root / "tiny.py")


def load(tmp_path, *variants, shared=(), epochs=None):
    return load_methods(variants, shared, tmp_path, epochs)


def test_a_method_knows_its_length(config, tmp_path):
    change = ["train_dataloader.dataset.num_images=10"]
    plain, dropped, kept = load(
        tmp_path,
        ("plain", config, []),
        ("dropped", config, change),
        ("kept", config, [*change, "train_dataloader.drop_last=False"]),
    )
    sizes = [(m.iterations_per_epoch, m.images_per_epoch) for m in (plain, dropped, kept)]
    assert sizes == [(2, 8), (2, 8), (3, 10)]
    assert (plain.epochs, plain.iterations, plain.images) == (2, 4, 16)


def test_changes_of_a_variant_come_after_those_of_all(config, tmp_path):
    (method,) = load(
        tmp_path,
        ("a", config, ["optim_wrapper.optimizer.lr=0.5"]),
        shared=["optim_wrapper.optimizer.lr=0.1", "val_evaluator.k=3"],
        epochs=7,
    )
    assert method.cfg.optim_wrapper.optimizer.lr == 0.5
    assert method.cfg.val_evaluator.k == 3
    assert method.epochs == method.cfg.train_cfg.max_epochs == 7


@pytest.mark.parametrize(
    ("variants", "shared", "epochs", "named"),
    [
        ([], [], None, "There is nothing to compare"),
        ([("a", [])] * 2, [], None, "Two runs have the name 'a'"),
        ([("a/b", [])], [], None, "'a/b' cannot be used"),
        ([("..", [])], [], None, "'..' cannot be used"),
        ([("", [])], [], None, "'' cannot be used"),
        ([("comparison.csv", [])], [], None, "'comparison.csv' cannot be used"),
        ([("a", ["lr"])], [], None, "the options of a: lr: expected KEY=VALUE"),
        ([("a", []), ("b", ["optim_wrapper.optimizer.lr=x"])], [], None, "b: The config has 1 mis"),
        ([("a", ["param_scheduler.0.warmup=3"])], [], 2, "a: The config has 1 mistake"),
        (
            [("a", [])],
            ["val_cfg=None", "val_dataloader=None", "val_evaluator=None"],
            None,
            "has no k-NN validation",
        ),
        ([("a", [])], ["train_cfg.val_begin=3"], None, "is not validated within 2 epochs"),
        ([("a", [])], ["default_hooks.checkpoint=None"], None, "writes no checkpoint"),
        (
            [("a", []), ("b", ["val_evaluator.k=3"])],
            [],
            None,
            "k-NN accuracies cannot be compared: val_evaluator.k is 4 in a, 3 in b",
        ),
        (
            [("a", []), ("b", ["val_dataloader.dataset.num_images=9"])],
            [],
            None,
            "val_dataloader.dataset.num_images is 8 in a, 9 in b",
        ),
        (
            [("a", []), ("b", ["val_cfg.fp16=True"])],
            [],
            None,
            "val_cfg.fp16 is False in a, True in b",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(config, tmp_path, variants, shared, epochs, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        load(tmp_path, *[(n, config, o) for n, o in variants], shared=shared, epochs=epochs)
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_other_training_images_are_said(config, tmp_path):
    methods = load(
        tmp_path,
        ("a", config, []),
        ("b", config, ["train_dataloader.dataset.num_images=12", "train_dataloader.batch_size=2"]),
        ("c", config, ["train_dataloader.dataset.pipeline.0.views.0.size=24"]),
    )
    assert training_data_notes(methods) == [
        "a and b do not train on the same images: train_dataloader.dataset.num_images is 8 in a, "
        "12 in b."
    ]


@pytest.mark.parametrize(
    ("images", "epochs", "line"),
    [
        (800, 100, ""),
        (8, 1, ""),
        (100, 12, "works: 100 images are 12.50 epochs of 8; it trains 12, which are 96 images."),
    ],
)
def test_images_become_whole_epochs(images, epochs, line):
    assert epochs_of_images(tiny_comparison.method(), images) == (epochs, line)


def test_a_budget_below_an_epoch_is_refused():
    with pytest.raises(ValueError, match="--images 7 is less than an epoch of 8 images"):
        epochs_of_images(tiny_comparison.method(), 7)


def test_a_budget_sets_the_length_and_checks_it(config, tmp_path):
    methods = load(tmp_path, ("a", config, []))
    (method,), lines = apply_budget(methods, Budget(images=40), tmp_path, None)
    assert (method.epochs, method.images, lines) == (5, 40, [])
    assert method.options == ("train_cfg.max_epochs=5",)
    (timed,), lines = apply_budget(methods, Budget(minutes=1), tmp_path, lambda m: (9, "found 9"))
    assert (timed.epochs, lines) == (9, ["found 9"])
    warm = load(tmp_path, ("a", config, ["param_scheduler.0.warmup=2"]))
    with pytest.raises(ValueError, match="2 epochs of a run of 1"):
        apply_budget(warm, Budget(images=8), tmp_path, None)


@pytest.mark.parametrize(
    ("budget", "named"),
    [
        ({"images": 8, "epochs": 1}, "given by --images and --epochs: choose one"),
        ({"epochs": 0}, "epochs=0; it must be a whole number at least 1"),
        ({"minutes": 0}, "minutes=0; it must be a finite number above 0"),
        ({"minutes": float("nan")}, "minutes=nan"),
    ],
)
def test_a_budget_out_of_range_is_refused(budget, named):
    with pytest.raises(ValueError, match=re.escape(named)):
        Budget(**budget)


def test_runs_come_seed_by_seed(tmp_path):
    methods = [tiny_comparison.method(name=name) for name in ("a", "b")]
    runs = make_runs(methods, [3, 5], tmp_path)
    assert list(map(str, runs)) == ["a, seed 3", "b, seed 3", "a, seed 5", "b, seed 5"]
    assert runs[2].folder == tmp_path / "a" / "seed_5"
    with pytest.raises(ValueError, match="--seeds has 3 more than once"):
        make_runs(methods, [3, 5, 3], tmp_path)
    with pytest.raises(ValueError, match="seeds=-1"):
        make_runs(methods, [-1], tmp_path)


def test_differences_are_found_in_dicts_and_lists():
    first = {"a": 1, "b": [{"c": 1}, 2], "d": [1], "e": 0}
    second = {"a": 1, "b": [{"c": 3}, 2], "d": [1, 2], "f": 0}
    assert differences(first, second) == [
        ("b.0.c", 1, 3),
        ("d", [1], [1, 2]),
        ("e", 0, "nothing"),
        ("f", "nothing", 0),
    ]

"""A run leaves a figure of itself, also where it was interrupted, and says what it shows."""

from __future__ import annotations

import json
import math
from itertools import chain

import matplotlib.pyplot
import numpy as np
import pytest
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, init_default_scope
from PIL import Image
from torch.utils.data import Dataset

from mmdino.engine.hooks.training_figure_hook import (
    aligned,
    best_k,
    first_views,
    is_doubling,
    summary,
)
from mmdino.visualization import TrainingCurves


class LabelledImages(Dataset):
    """Forty noisy images of two classes, dark and bright."""

    metainfo: dict = {}

    def __init__(self, seed):
        self.seed = seed

    def __len__(self):
        return 40

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(self.seed + int(index))
        image = torch.randn(3, 32, 32, generator=generator) + 0.05 * (index % 2)
        sample = tiny_run.DataSample(metainfo={"sample_idx": int(index)}).set_gt_label(index % 2)
        return {"inputs": image, "data_samples": sample}


class StopAt(Hook):
    """Interrupts a run as the user does."""

    def __init__(self, iteration):
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            raise KeyboardInterrupt


def validation():
    """Config keys of a k-NN validation."""
    queries, bank = (
        {
            "dataset": LabelledImages(seed),
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "batch_size": 20,
            "num_workers": 0,
            "collate_fn": {"type": "default_collate"},
        }
        for seed in (0, 1000)
    )
    return {
        "val_dataloader": queries,
        "val_cfg": {"type": "mmdino.KNNValLoop", "bank_dataloader": bank},
        "val_evaluator": {"type": "mmdino.KNNMetric", "k": (1, 3)},
    }


def build(work_dir, epochs=2, val_at_start=True, figure=None, **options):
    """A run with the hook, of 3 iterations an epoch."""
    return tiny_run.build(
        work_dir,
        train_cfg={
            "type": "mmdino.ResumableTrainLoop",
            "max_epochs": epochs,
            "val_at_start": val_at_start,
        },
        custom_hooks=tiny_run.hooks(TrainingFigureHook=figure or {}),
        log_level="INFO",
        **options,
    )


def read_json(work_dir):
    return json.loads((work_dir / "training.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of two epochs with validation of all kinds, and its folder."""
    init_default_scope("mmpretrain")
    work_dir = tmp_path_factory.mktemp("finished")
    options = validation()
    others = ({"type": "mmdino.RidgeProbeMetric"}, {"type": "mmdino.LabelFreeMetric"})
    options["val_evaluator"] = [options["val_evaluator"], *others]
    runner = build(work_dir, **options)
    runner.train()
    return runner, work_dir


def test_a_run_with_validation_leaves_its_figure(finished):
    runner, work_dir = finished
    pixels = np.asarray(Image.open(work_dir / "training.png").convert("L"))
    middle = [side // 2 for side in pixels.shape]
    for half in np.split(pixels, middle[:1], axis=0):
        for quadrant in np.split(half, middle[1:], axis=1):
            assert quadrant.std() > 10
    data = read_json(work_dir)
    assert data["entropy_bound"] == pytest.approx(math.log(32))
    assert data["iterations_per_epoch"] == 3
    assert data["train"]["iteration"] == [1, 2, 3, 4, 5, 6]
    losses = runner.message_hub.get_scalar("train/loss").data[0]
    assert data["train"]["loss"] == pytest.approx(losses, rel=1e-5)
    assert data["knn"]["iteration"] == [0, 3, 6]
    assert data["knn"]["top1"][-1] == pytest.approx(
        runner.message_hub.get_scalar("val/knn/top1").current(), rel=1e-5
    )
    assert data["quality"]["iteration"] == [0, 3, 6]
    for name in ("ridge/top1", "features/rankme"):
        assert data["quality"][name][-1] == pytest.approx(
            runner.message_hub.get_scalar(f"val/{name}").current(), rel=1e-5
        )
    assert "features/lidar" not in data["quality"], "it needs views of each image"
    assert matplotlib.pyplot.get_fignums() == []


def test_the_last_line_says_what_training_brought(finished):
    runner, work_dir = finished
    untrained, _, trained = read_json(work_dir)["knn"]["top1"]
    text = tiny_run.log_text(runner)
    assert f"k-NN top-1: {untrained:.1f} % untrained, {trained:.1f} % after 2 epochs" in text
    assert f"Figure: {work_dir / 'training.png'}" in text


def test_without_validation_the_figure_has_the_rest(tmp_path):
    runner = build(tmp_path, epochs=1)
    runner.train()
    assert read_json(tmp_path)["knn"]["iteration"] == []
    assert (tmp_path / "training.png").is_file()
    text = tiny_run.log_text(runner)
    assert "k-NN top-1" not in text
    assert f"Figure: {tmp_path / 'training.png'}" in text


def test_it_is_written_before_the_first_iteration_and_at_the_interval(tmp_path):
    seen = []

    class Look(Hook):
        priority = "LOWEST"

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append(len(read_json(tmp_path)["train"]["iteration"]))

    figure = {"interval": 2, "num_images": 0}
    runner = build(tmp_path, epochs=1, figure=figure, **validation())
    runner.register_hook(Look())
    runner.train()
    assert seen == [0, 0, 2]


def test_it_is_written_early_in_a_run_without_validation(tmp_path):
    """After the first iterations, then after twice as many and so on."""
    assert [done for done in range(1, 33) if is_doubling(done, 3)] == [3, 6, 12, 24]
    seen = []

    class Look(Hook):
        priority = "LOWEST"

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            path = tmp_path / "training.json"
            seen.append(path.is_file() and len(read_json(tmp_path)["train"]["iteration"]))

    runner = build(tmp_path, epochs=1, figure={"first": 2, "num_images": 0})
    runner.register_hook(Look())
    runner.train()
    assert seen == [False, 2, 2]


def test_a_resumed_run_has_the_whole_curves(tmp_path):
    """The checkpoint of an epoch is written before its validation, and so lacks it."""
    checkpoint = {"checkpoint": {"type": "mmdino.CheckpointHook", "interval": 1}}
    runner = build(tmp_path, figure={"num_images": 0}, default_hooks=checkpoint, **validation())
    runner.register_hook(StopAt(5))
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    before = read_json(tmp_path)
    saved = torch.load(tmp_path / "epoch_1.pth", weights_only=False)["message_hub"]["runtime_info"]
    assert [point[0] for point in saved["knn_curve"]] == [0]
    runner = build(
        tmp_path,
        figure={"num_images": 0},
        default_hooks=checkpoint,
        resume=True,
        **validation(),
    )
    runner.train()
    after = read_json(tmp_path)
    assert after["train"]["iteration"] == [1, 2, 3, 4, 5, 6]
    assert after["train"]["loss"][:3] == before["train"]["loss"]
    assert [point[0] for point in runner.message_hub.get_info("knn_curve")] == [0, 3, 6]
    assert after["knn"]["top1"][:2] == before["knn"]["top1"]


def test_a_validation_by_itself_leaves_the_figure_alone(tmp_path):
    build(tmp_path, **validation()).val()
    assert not (tmp_path / "training.png").exists()


def test_a_figure_that_cannot_be_written_does_not_end_the_run(tmp_path):
    (tmp_path / "training.png").mkdir()
    runner = build(tmp_path, epochs=1)
    runner.train()
    assert runner.iter == 3
    text = tiny_run.log_text(runner)
    assert "The training figure could not be written" in text
    assert "Figure: " not in text


def test_a_validation_without_knn_says_why_there_is_no_curve(tmp_path):
    options = validation()
    options["val_evaluator"]["prefix"] = "neighbours"
    runner = build(tmp_path, epochs=1, figure={"num_images": 0}, **options)
    runner.train()
    assert "no knn/top1, but neighbours/top1" in tiny_run.log_text(runner)


def test_views_are_those_before_the_model_changes_them(tmp_path):
    runner = build(tmp_path, epochs=1, figure={"num_images": 3})
    (hook,) = (h for h in runner.hooks if type(h).__name__ == "TrainingFigureHook")
    runner.train()
    loader = runner.train_dataloader
    loader.sampler.set_epoch(0)
    batch = next(iter(loader))["inputs"]
    expected = first_views(batch, 3, bgr=False)
    assert len(hook._views) == 3
    for shown, view in zip(chain(*hook._views), chain(*expected), strict=True):
        assert np.array_equal(shown, view)


def test_views_as_tensors_and_as_lists_are_the_same():
    torch.manual_seed(0)
    batch = [torch.randint(256, (4, 3, size, size), dtype=torch.uint8) for size in (32, 32, 16)]
    tensors = first_views(batch, 2, bgr=True)
    lists = first_views([list(view) for view in batch], 2, bgr=True)
    assert [len(image) for image in tensors] == [3, 3]
    for view, same in zip(chain(*tensors), chain(*lists), strict=True):
        assert np.array_equal(view, same)
    assert np.array_equal(tensors[1][2], batch[2][1].flip(0).permute(1, 2, 0).numpy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int16])
def test_views_of_other_types_can_be_shown(dtype):
    view = torch.arange(16).view(1, 1, 4, 4).to(dtype)
    assert first_views([view], 4, bgr=True)[0][0].ravel().tolist() == list(range(0, 256, 17))


@pytest.mark.parametrize("inputs", [torch.zeros(3, 8, 8), [], [torch.zeros(3, 8, 8)] * 4])
def test_a_batch_without_views_is_left_to_the_model(inputs):
    assert first_views(inputs, 4, bgr=True) == []


def test_a_batch_of_images_is_one_view():
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    views = first_views(images, 2, bgr=False)
    assert [len(of_image) for of_image in views] == [1, 1]
    assert np.array_equal(views[1][0], images[1].permute(1, 2, 0).numpy())


def test_histories_end_together():
    curves = aligned({"loss": np.arange(5.0), "kl": np.array([8.0, 9.0])}, done=12)
    assert curves["iteration"].tolist() == [8, 9, 10, 11, 12]
    assert curves["loss"].tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_equal(curves["kl"], [np.nan, np.nan, np.nan, 8, 9])


@pytest.mark.parametrize(("histories", "done"), [({}, 3), ({"loss": np.arange(5.0)}, 0)])
def test_no_history_before_the_first_iteration(histories, done):
    assert all(not len(values) for values in aligned(histories, done).values())


@pytest.mark.parametrize(
    ("knn", "per_epoch", "k", "expected"),
    [
        (
            ((0, 31.2, None), (40, 78.4, None)),
            2,
            20,
            "31.2 % untrained, 78.4 % after 20 epochs (best k 20)",
        ),
        (((2, 40.0, None), (4, 30.0, None)), 2, None, "30.0 % after 2 epochs, best 40.0 % after 1"),
        (((70, 40.0, None),), None, None, "40.0 % after 70 iterations"),
        (((0, 40.0, None),), 2, 5, "40.0 % untrained (best k 5)"),
    ],
)
def test_summary(knn, per_epoch, k, expected):
    curves = TrainingCurves(entropy_bound=math.log(8), knn=knn, iterations_per_epoch=per_epoch)
    assert summary(curves, k).removesuffix(" epoch") == expected


def test_best_k_is_the_one_with_the_highest_top1():
    metrics = {"knn/top1": 3.0, "knn/k10_top1": 2.0, "knn/k20_top1": 3.0, "knn/k20_top5": 9.0}
    assert best_k(metrics) == 20
    assert best_k({"knn/top1": 3.0}) is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"filename": 3}, TypeError, "filename=3"),
        ({"filename": "training.jpg"}, ValueError, r"\.png, \.pdf, \.svg"),
        ({"interval": 0}, ValueError, "interval=0"),
        ({"interval": 2.5}, TypeError, "interval=2.5"),
        ({"num_images": -1}, ValueError, "num_images=-1"),
        ({"num_images": True}, TypeError, "num_images=True"),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        HOOKS.build({"type": "mmdino.TrainingFigureHook", **options})

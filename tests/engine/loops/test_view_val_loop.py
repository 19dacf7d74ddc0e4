"""Validation without labels, on several views of each image."""

from __future__ import annotations

import json

import pytest
import tiny_mmpretrain
import tiny_run
import torch

from mmdino.evaluation.label_free import lidar, neighbor_overlap, rankme

NAMES = ["features/rankme", "features/lidar", "features/neighbor_overlap"]


def views(sizes=(32, 32, 32), images=14):
    """Config keys of the validation."""
    sampler = {"type": "mmdino.EpochSampler", "shuffle": False, "seed": 0}
    dataset = tiny_run.RandomViews(images, view_sizes=sizes)
    return {
        "val_dataloader": tiny_run.loader(dataset, batch_size=5, sampler=sampler),
        "val_cfg": {"type": "mmdino.ViewValLoop"},
        "val_evaluator": {"type": "mmdino.LabelFreeMetric", "k": 3},
    }


def test_metrics_are_those_of_the_teachers_features(tmp_path):
    runner = tiny_run.build(tmp_path, **views())
    metrics = runner.val()
    dataset = runner.val_dataloader.dataset
    images = [dataset[index]["inputs"] for index in runner.val_dataloader.sampler]
    with torch.no_grad():
        features = torch.stack(
            [
                runner.model.extract_feat(torch.stack([image[view] for image in images]))
                for view in range(3)
            ],
            1,
        )
    expected = (
        rankme(features[:, 0]),
        lidar(features),
        100 * neighbor_overlap(features[:, 0], features[:, 1], 3),
    )
    assert [metrics[name] for name in NAMES] == pytest.approx(expected, rel=1e-4)
    assert runner.val() == metrics, "each validation sees the same views"


def test_a_run_without_labels_draws_what_it_measured(tmp_path):
    runner = tiny_run.build(
        tmp_path,
        train_cfg={"type": "mmdino.ResumableTrainLoop", "max_epochs": 1, "val_at_start": True},
        custom_hooks=tiny_run.hooks(TrainingFigureHook={}),
        **views(),
    )
    runner.train()
    data = json.loads((tmp_path / "training.json").read_text())["quality"]
    assert data["iteration"] == [0, 3]
    for name in NAMES:
        last = runner.message_hub.get_scalar(f"val/{name}").current()
        assert data[name][-1] == pytest.approx(last, rel=1e-5)
    assert (tmp_path / "training.png").is_file()


def test_a_method_of_mmpretrain_is_measured_too(tmp_path):
    runner = tiny_run.build(tmp_path, model=tiny_mmpretrain.simsiam(), **views())
    assert set(NAMES) == set(runner.val())


@pytest.mark.parametrize("meant", [False, True])
def test_few_images_are_warned_of_once_unless_they_are_meant(tmp_path, meant):
    options = views(images=11)
    options["val_evaluator"]["few_images"] = meant
    runner = tiny_run.build(tmp_path, **options)
    for _ in range(2):
        runner.val()
    (log,) = tmp_path.glob("*/*.log")
    warned = log.read_text().count("effective rank of 11 images is at most 11")
    assert warned == (0 if meant else 1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"sizes": (32,)}, ValueError, "got one view of each image"),
        ({"images": 3}, ValueError, "LabelFreeMetric got 3 images and k=3"),
    ],
    ids=["one view", "fewer images than neighbours"],
)
def test_what_cannot_be_measured_is_refused(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        tiny_run.build(tmp_path, **views(**change)).val()


def test_a_pipeline_without_views_is_refused(tmp_path):
    options = views()
    options["val_dataloader"] = tiny_run.loader(tiny_run.LabelledImages(12))
    with pytest.raises(TypeError, match=r"needs a batch of views.*MultiCropTransform"):
        tiny_run.build(tmp_path, **options).val()

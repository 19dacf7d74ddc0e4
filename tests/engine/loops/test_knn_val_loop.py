"""Validation by nearest neighbours. tests/engine/test_ranks.py has it on several ranks."""

from __future__ import annotations

import pytest
import tiny_run
import torch
from mmengine.hooks import Hook

from mmdino.evaluation.knn import knn_accuracy


def features(runner, dataset):
    """The teacher's features of all images, straight from the network."""
    with torch.no_grad():
        return runner.model.eval().extract_feat(dataset.images)


def test_metrics_are_those_of_the_teachers_features(tmp_path):
    runner = tiny_run.build(tmp_path, **tiny_run.validation())
    with torch.no_grad():
        for parameter in runner.model.teacher.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    metrics = runner.val()
    bank, queries = tiny_run.LabelledImages(16, seed=1), tiny_run.LabelledImages(12)
    expected = knn_accuracy(
        features(runner, queries),
        torch.tensor(queries.labels),
        features(runner, bank),
        torch.tensor(bank.labels),
        ks=(1, 5),
    )
    for k, (top1, top5) in expected.items():
        assert (metrics[f"knn/k{k}_top1"], metrics[f"knn/k{k}_top5"]) == (top1, top5)
    assert metrics["knn/top1"] == max(top1 for top1, _ in expected.values()) > 25


def test_bank_is_in_the_order_of_the_data_set(tmp_path):
    validation = tiny_run.validation()
    validation["val_cfg"]["bank_dataloader"]["sampler"]["shuffle"] = True
    runner = tiny_run.build(tmp_path, **validation)
    runner.model.eval()
    found, labels = runner.val_loop.fill_bank()
    bank = tiny_run.LabelledImages(16, seed=1)
    assert labels.tolist() == bank.labels
    torch.testing.assert_close(found, features(runner, bank))


class Watcher(Hook):
    """Notes whether the networks are in train mode."""

    def __init__(self):
        self.modes = {"train": set(), "val": set()}

    def modes_of(self, runner):
        return {module.training for module in runner.model.modules()}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.modes["train"] |= self.modes_of(runner)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.modes["val"] |= self.modes_of(runner)


def test_training_goes_on_in_train_mode_and_is_not_disturbed(tmp_path):
    ends, watcher = [], Watcher()
    for name, validation in (("with", tiny_run.validation()), ("without", {})):
        runner = tiny_run.build(
            tmp_path / name, model=tiny_run.resnet_model(), epochs=2, **validation
        )
        runner.register_hook(watcher)
        runner.train()
        ends.append(runner.model.state_dict())
    assert watcher.modes == {"train": {True}, "val": {False}}
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_features_may_be_computed_under_autocast(tmp_path):
    plain, mixed = (
        tiny_run.build(tmp_path / str(fp16), **tiny_run.validation(fp16=fp16))
        for fp16 in (False, True)
    )
    mixed.model.load_state_dict(plain.model.state_dict())
    banks = [runner.val_loop.fill_bank()[0] for runner in (plain, mixed)]
    assert banks[1].dtype == torch.float32
    assert not torch.equal(*banks)
    torch.testing.assert_close(*banks, rtol=0, atol=0.1)


def test_samples_without_labels_are_refused(tmp_path):
    validation = tiny_run.validation()
    unlabelled = tiny_run.loader(tiny_run.LabelledImages(with_label=False))
    validation["val_cfg"]["bank_dataloader"] = unlabelled
    runner = tiny_run.build(tmp_path, **validation)
    with pytest.raises(ValueError, match=r"sample of 0\.jpg has none.*with_label=True"):
        runner.val()


def test_another_metric_alone_is_refused(tmp_path):
    validation = tiny_run.validation()
    validation["val_evaluator"] = {"type": "Accuracy"}
    runner = tiny_run.build(tmp_path, **validation)
    with pytest.raises(ValueError, match=r"KNNMetric.*has \['Accuracy'\]"):
        runner.val()

"""Validation by nearest neighbours. tests/engine/test_ranks.py has it on several ranks."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import tiny_mmpretrain
import tiny_run
import torch
from mmengine.hooks import Hook
from script_process import run_script

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


def test_a_bank_loader_that_leaves_images_out_is_refused(tmp_path):
    """Their features would be whatever the memory held."""
    validation = tiny_run.validation()
    validation["val_cfg"]["bank_dataloader"] |= {"batch_size": 5, "drop_last": True}
    runner = tiny_run.build(tmp_path, **validation)
    with pytest.raises(ValueError, match=r"gave 15 of 16 images.*drop_last=False"):
        runner.val()


def listed_images(folder, name, indices):
    """Loader of images, three classes in turn, by a list."""
    (folder / name).write_text("".join(f"{index}.png {index % 3}\n" for index in indices))
    dataset = {
        "type": "mmdino.ImageFolder",
        "data_root": str(folder),
        "ann_file": str(folder / name),
        "with_label": True,
        "pipeline": [{"type": "LoadImageFromFile"}, {"type": "PackInputs"}],
    }
    return tiny_run.loader(dataset)


def test_images_that_cannot_be_read_are_left_out(tmp_path):
    """Metrics are those without them, and each is named once."""
    rng = np.random.default_rng(0)
    for index in range(24):
        image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    for index in (4, 15, 20):
        (tmp_path / f"{index}.png").write_bytes(b"")
    (tmp_path / "5.png").unlink()
    found, good = [], [index for index in range(24) if index not in (4, 5, 15, 20)]
    for name, indices in (("all", range(24)), ("good", good)):
        validation = tiny_run.validation(k=(1, 3))
        bank, queries = (
            listed_images(tmp_path, f"{name}_{part}.txt", chosen)
            for part, chosen in (
                ("bank", [index for index in indices if index < 16]),
                ("queries", [index for index in indices if index >= 16]),
            )
        )
        validation["val_cfg"]["bank_dataloader"] = bank
        validation["val_dataloader"] = queries
        runner = tiny_run.build(tmp_path / name, **validation)
        found.append([runner.val(), runner.val_loop.run(), *runner.val_loop.fill_bank()])
        log = tiny_run.log_text(runner)
        if name == "all":
            assert log.count("leaves out 3 of 16 images of the bank, which cannot be read: ") == 1
            assert log.count("leaves out 1 of 8 query images, which cannot be read: ") == 1
            assert f"{tmp_path / '20.png'} is empty. Repair" in log
            assert "their lines in " in log
        else:
            assert "cannot be read" not in log
    (*metrics, features, labels), (*expected, bank_features, bank_labels) = found
    assert metrics == expected
    assert torch.equal(labels, bank_labels)
    torch.testing.assert_close(features, bank_features)


def test_images_of_mixed_sizes_are_named(tmp_path):
    class Mixed(tiny_run.LabelledImages):
        def __getitem__(self, index):
            sample = super().__getitem__(index)
            if index == 3:
                sample["inputs"] = sample["inputs"][..., :-2]
            return sample

    validation = tiny_run.validation()
    validation["val_cfg"]["bank_dataloader"] = tiny_run.loader(Mixed())
    runner = tiny_run.build(tmp_path, **validation)
    with pytest.raises(ValueError, match=r"got 0\.jpg .* and 3\.jpg .*Add .*ResizeEdge"):
        runner.val()


def test_other_classes_than_those_of_the_bank_are_refused(tmp_path):
    validation = tiny_run.validation()
    for loader, names in (
        (validation["val_dataloader"], ["cat", "dog"]),
        (validation["val_cfg"]["bank_dataloader"], ["cat", "fish"]),
    ):
        loader["dataset"].metainfo = {"classes": names}
    runner = tiny_run.build(tmp_path, **validation)
    with pytest.raises(ValueError, match="other classes: label 1 is 'fish' and 'dog'"):
        runner.val()


def test_a_k_above_the_bank_is_said_in_the_log(tmp_path):
    validation = tiny_run.validation()
    validation["val_evaluator"]["k"] = (1, 500)
    runner = tiny_run.build(tmp_path, log_level="INFO", **validation)
    runner.val()
    assert tiny_run.log_text(runner).count("k 500 is lowered to 16") == 1


def test_another_metric_alone_is_refused(tmp_path):
    validation = tiny_run.validation()
    validation["val_evaluator"] = {"type": "Accuracy"}
    runner = tiny_run.build(tmp_path, **validation)
    with pytest.raises(ValueError, match=r"KNNMetric.*has \['Accuracy'\]"):
        runner.val()


@pytest.mark.parametrize("name", ["simsiam", "mae"])
def test_methods_of_mmpretrain_train_and_are_validated(tmp_path, name):
    runner = tiny_mmpretrain.build(tmp_path, name)
    before = tiny_run.flat(runner.model.parameters())
    runner.train()
    assert (runner.epoch, runner.iter) == (2, 6)
    assert not torch.equal(before, tiny_run.flat(runner.model.parameters()))
    scalars = runner.message_hub.log_scalars
    assert 0 <= scalars["val/knn/top1"].current() <= 100
    assert scalars["train/images_per_s"].current() > 0
    curves = json.loads((tmp_path / "training.json").read_text())
    assert len(curves["train"]["loss"]) == 6
    assert curves["knn"]["iteration"] == [3, 6]
    assert curves["train"]["teacher_entropy"] == []
    assert (tmp_path / "training.png").is_file()


def reduced(name, output):
    """The feature of a method's output, by hand."""
    if name == "simsiam":
        return output[-1].flatten(2).sum(2) / output[-1][0, 0].numel()
    assert output[0].shape[1] == 1 + 16, "a class token and the patches"
    return output[0].narrow(1, 0, 1).squeeze(1)


@pytest.mark.parametrize("name", ["simsiam", "mae"])
def test_metrics_are_those_of_the_output_of_a_method_of_mmpretrain(tmp_path, name):
    runner = tiny_mmpretrain.build(tmp_path, name)
    runner.train()
    metrics = runner.val()
    bank, queries = tiny_run.LabelledImages(16, seed=1), tiny_run.LabelledImages(12)
    assert not runner.model.training
    with torch.no_grad():
        of_bank, of_queries = (
            reduced(name, runner.model.extract_feat(dataset.images)) for dataset in (bank, queries)
        )
    expected = knn_accuracy(
        of_queries, torch.tensor(queries.labels), of_bank, torch.tensor(bank.labels), ks=(1, 5)
    )
    for k, (top1, top5) in expected.items():
        assert (metrics[f"knn/k{k}_top1"], metrics[f"knn/k{k}_top5"]) == (top1, top5)
    assert metrics["knn/top1"] == max(top1 for top1, _ in expected.values())
    torch.testing.assert_close(runner.val_loop.fill_bank()[0], of_bank)


def test_a_resumed_run_of_simsiam_equals_an_uninterrupted_one(tmp_path):
    whole = tiny_mmpretrain.build(tmp_path, "simsiam")
    whole.train()
    resumed = tiny_mmpretrain.build(
        tmp_path / "resumed", "simsiam", load_from=str(tmp_path / "epoch_1.pth"), resume=True
    )
    resumed.train()
    assert (resumed.epoch, resumed.iter) == (2, 6)
    end = resumed.model.state_dict()
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, end[key]), key
    names = ("train/loss", "val/knn/top1", "val/knn/k5_top5")
    for name in names:
        values = (run.message_hub.get_scalar(name).current() for run in (whole, resumed))
        assert len(set(values)) == 1, name


def test_two_ranks_divide_a_validation_of_simsiam(tmp_path):
    """13 queries and 29 bank images, which two ranks cannot divide evenly."""
    run_script("knn_on_two_ranks.py", tmp_path)
    alone, *ranks = (torch.load(tmp_path / f"{name}.pth") for name in ("alone", 0, 1))
    assert len(set(alone["metrics"].values())) > 2, "the images differ in class"
    for rank in ranks:
        assert rank["wrapper"] == "MMDistributedDataParallel"
        assert rank["metrics"] == alone["metrics"]
        assert rank["batches"] == 4, "half of 8"
    assert torch.equal(ranks[0]["labels"], alone["labels"])
    torch.testing.assert_close(ranks[0]["features"], alone["features"])
    assert not len(ranks[1]["features"])
    alone, *ranks = (seen["unreadable"] for seen in (alone, *ranks))
    for rank in ranks:
        assert rank["metrics"] == alone["metrics"]
    assert len(alone["labels"]) == 26
    assert torch.equal(ranks[0]["labels"], alone["labels"])
    torch.testing.assert_close(ranks[0]["features"], alone["features"])

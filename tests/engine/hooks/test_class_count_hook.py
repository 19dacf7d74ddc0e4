"""Data sets and heads with different numbers of classes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tiny_run
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmdino.engine.hooks.class_count_hook import check, class_counts


class Named(tiny_run.LabelledImages):
    """A data set with class names."""

    def __init__(self, classes):
        super().__init__(num_classes=4)
        names = range(classes) if isinstance(classes, int) else classes
        self.metainfo = {} if classes is None else {"classes": list(map(str, names))}


def classifier(num_classes=4):
    """Returns the config of an mmpretrain classifier."""
    return {
        "type": "ImageClassifier",
        "backbone": tiny_run.vit_model()["backbone"],
        "head": {"type": "LinearClsHead", "num_classes": num_classes, "in_channels": 12},
        "data_preprocessor": {"mean": [0.0] * 3, "std": [1.0] * 3, "num_classes": num_classes},
    }


def run(work_dir, mode, model=None, **classes):
    """Runs ``Runner.train``, ``val`` or ``test`` with a number or names of classes per data set."""
    loaders = {
        f"{name}_dataloader": tiny_run.loader(Named(classes.get(name, 4)))
        for name in ("train", "val", "test")
    }
    options = tiny_run.config(
        work_dir,
        model=model or classifier(),
        **loaders,
        train_cfg={"by_epoch": True, "max_epochs": 1},
        val_cfg={},
        test_cfg={},
        val_evaluator={"type": "Accuracy"},
        test_evaluator={"type": "Accuracy"},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.01}},
        param_scheduler=None,
        custom_hooks=[{"type": "mmdino.ClassCountHook"}],
    )
    return getattr(Runner(**options), mode)()


@pytest.mark.parametrize("mode", ["train", "val", "test"])
def test_equal_numbers_pass(tmp_path, mode):
    run(tmp_path, mode)


@pytest.mark.parametrize(
    ("mode", "wrong"), [("train", "train"), ("train", "val"), ("val", "val"), ("test", "test")]
)
@pytest.mark.parametrize("count", [3, 5])
def test_another_number_is_refused_with_both_and_the_key(tmp_path, mode, wrong, count):
    message = (
        rf"{wrong}_dataloader.dataset \(Named\) has {count} classes, but the model has "
        rf"model.head.num_classes=4, .*Set model.head.num_classes={count} "
    )
    with pytest.raises(ValueError, match=message):
        run(tmp_path, mode, **{wrong: count})


def test_validation_set_is_compared_before_training(tmp_path):
    with pytest.raises(ValueError, match="val_dataloader"):
        run(tmp_path, "train", val=3)
    assert not list(tmp_path.glob("*.pth"))


def test_data_set_without_class_names_gives_a_warning(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr("mmengine.logging.MMLogger.warning", lambda self, text: logged.append(text))
    run(tmp_path, "test", test=None)
    assert any("test_dataloader.dataset (Named) has no class names" in text for text in logged)


@pytest.mark.parametrize("mode", ["train", "val", "test"])
def test_data_set_without_labels_is_refused(mode):
    dataset = Named(4)
    dataset.with_label = False
    with pytest.raises(ValueError, match=f"{mode}_dataloader.dataset.*has no labels"):
        check(SimpleNamespace(), mode, dataset)


def test_other_classes_of_the_same_number_give_a_warning(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr("mmengine.logging.MMLogger.warning", lambda self, text: logged.append(text))
    run(tmp_path, "train", train="abcd", val="abxd")
    assert any("label 2 is 'c' and 'x'" in text for text in logged)


def test_model_without_head_is_refused(tmp_path):
    class Headless(BaseModel):
        def forward(self, inputs, data_samples=None, mode="tensor"):
            return torch.zeros(())

    with pytest.raises(ValueError, match="no num_classes in Headless"):
        run(tmp_path, "test", model=Headless())


def test_every_head_of_a_segmentor_is_compared():
    def head(num_classes):
        module = nn.Module()
        module.num_classes = num_classes
        return module

    model = SimpleNamespace(
        decode_head=head(150), auxiliary_head=nn.ModuleList([head(150), head(19)])
    )
    assert dict(class_counts(model)) == {
        "model.decode_head.num_classes": 150,
        "model.auxiliary_head.0.num_classes": 150,
        "model.auxiliary_head.1.num_classes": 19,
    }


def test_labels_of_mixup_are_compared_too():
    classifier = SimpleNamespace(
        head=SimpleNamespace(num_classes=3), data_preprocessor=SimpleNamespace(num_classes=10)
    )
    assert dict(class_counts(classifier)) == {
        "model.head.num_classes": 3,
        "model.data_preprocessor.num_classes": 10,
    }

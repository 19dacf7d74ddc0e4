"""Batches of images that differ in shape, in mmengine's own loops."""

from __future__ import annotations

import pytest
import tiny_run
from mmengine.runner import Runner


class Mixed(tiny_run.LabelledImages):
    """The last image is narrower than the others."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        if index == len(self) - 1:
            sample["inputs"] = sample["inputs"][..., :-2]
        return sample


def runner_of(work_dir, **datasets):
    """A classifier's runner; the data sets are of equal images where none is given."""
    given = {
        f"{mode}_dataloader": tiny_run.loader(datasets.get(mode, tiny_run.LabelledImages()))
        for mode in ("train", "val", "test")
    }
    options = tiny_run.config(
        work_dir,
        model={
            "type": "ImageClassifier",
            "backbone": tiny_run.vit_model()["backbone"],
            "head": {"type": "LinearClsHead", "num_classes": 4, "in_channels": 12},
        },
        **given,
        train_cfg={"by_epoch": True, "max_epochs": 1},
        val_cfg={},
        test_cfg={},
        val_evaluator={"type": "Accuracy"},
        test_evaluator={"type": "Accuracy"},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.01}},
        param_scheduler=None,
        custom_hooks=[{"type": "mmdino.EqualShapesHook"}],
    )
    return Runner(**options)


@pytest.mark.parametrize("mode", ["train", "val", "test"])
def test_two_files_and_their_shapes_are_named(tmp_path, mode):
    runner = runner_of(tmp_path, **{mode: Mixed()})
    with pytest.raises(ValueError, match=r"4\.jpg \(3, 32, 32\) and 7\.jpg \(3, 32, 30\)"):
        getattr(runner, mode)()


def test_a_loader_is_checked_once(tmp_path):
    runner = runner_of(tmp_path)
    runner.val()
    collate = runner.val_dataloader.collate_fn
    runner.val()
    assert runner.val_dataloader.collate_fn is collate


def test_a_pipeline_without_inputs_is_named(tmp_path):
    class Unpacked(tiny_run.LabelledImages):
        def __getitem__(self, index):
            return {"img_path": "a.jpg"}

    with pytest.raises(ValueError, match=r"gives no 'inputs', but img_path\..*PackInputs"):
        runner_of(tmp_path, test=Unpacked()).test()

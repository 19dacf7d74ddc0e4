"""Classifiers are evaluated on fixed images, also of data sets within others."""

from __future__ import annotations

import pytest
import tiny_tools
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.testing import assert_close

from mmdino.diagnostics.classifiers import (
    batches_sha256,
    fixed_batches,
    losses_of,
    pipeline_of,
    with_pipeline,
)
from mmdino.diagnostics.landscape import reestimate_batch_norm

BACKBONE = {"type": "mmdino.ResNet", "depth": 18, "stem_channels": 4, "base_channels": 4}
HEAD = {
    "type": "StackedLinearClsHead",
    "num_classes": 2,
    "in_channels": 32,
    "mid_channels": [6],
    "norm_cfg": {"type": "BN1d"},
}


def classifier():
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    model = MODELS.build(
        {
            "type": "ImageClassifier",
            "backbone": BACKBONE,
            "neck": {"type": "GlobalAveragePooling"},
            "head": HEAD,
            "data_preprocessor": {"mean": [0.0] * 3, "std": [1.0] * 3},
        }
    )
    model.eval()
    return model


def test_batch_norms_of_a_head_are_reestimated():
    model = classifier()
    samples = [DataSample().set_gt_label(index % 2) for index in range(4)]
    batches = [
        {"inputs": list(torch.randn(4, 3, 32, 32) + shift), "data_samples": samples}
        for shift in (0, 1)
    ]
    norm = next(part for part in model.head.modules() if isinstance(part, nn.BatchNorm1d))
    inputs = []
    norm.register_forward_pre_hook(lambda _, given: inputs.extend(given))
    reestimate_batch_norm(model, lambda: losses_of(model, batches))
    assert norm.num_batches_tracked == 2
    assert_close(norm.running_mean, torch.stack(inputs).mean((0, 1)))
    assert_close(norm.running_var, torch.stack(inputs).var(1).mean(0))
    assert not norm.training


AUGMENTED = [
    {"type": "LoadImageFromFile"},
    {"type": "RandomResizedCrop", "scale": 8},
    {"type": "PackInputs"},
]
PLAIN = [{"type": "LoadImageFromFile"}, {"type": "PackInputs"}]


def images(root, pipeline):
    return {
        "type": "mmdino.ImageFolder",
        "serialize_data": False,
        "data_root": str(root),
        "with_label": True,
        "pipeline": pipeline,
    }


def test_the_transforms_of_data_sets_within_others_are_replaced(tmp_path):
    init_default_scope("mmpretrain")
    for label in ("cat", "dog"):
        tiny_tools.write_image(tmp_path / label / "0.png", seed=ord(label[0]))
    inner = images(tmp_path, AUGMENTED)
    plain = batches_sha256(fixed_batches(images(tmp_path, PLAIN), PLAIN, 8, 4))
    for wrapped in (
        {"type": "RepeatDataset", "times": 1, "dataset": inner},
        {"type": "ConcatDataset", "datasets": [inner]},
        {
            "type": "ConcatDataset",
            "datasets": [{"type": "RepeatDataset", "times": 1, "dataset": inner}],
        },
    ):
        assert pipeline_of(wrapped) == AUGMENTED
        assert batches_sha256(fixed_batches(wrapped, PLAIN, 8, 4)) == plain
    assert inner["pipeline"] == AUGMENTED


def test_transforms_that_cannot_be_told_or_replaced_are_refused(tmp_path):
    one, other = images(tmp_path, AUGMENTED), images(tmp_path, PLAIN)
    with pytest.raises(ValueError, match="A ConcatDataset has 2 pipelines"):
        pipeline_of({"type": "ConcatDataset", "datasets": [one, other]})
    with pytest.raises(ValueError, match="The data set Own has no pipeline"):
        pipeline_of({"type": "Own"})
    mixed = {"type": "MultiImageMixDataset", "dataset": one, "pipeline": PLAIN}
    with pytest.raises(ValueError, match="A MultiImageMixDataset has a pipeline besides"):
        with_pipeline(mixed, PLAIN)


def test_an_option_of_the_same_name_is_no_data_set_within_another():
    named = {"type": "Own", "dataset": "name", "pipeline": AUGMENTED}
    assert pipeline_of(named) == AUGMENTED
    assert with_pipeline(named, PLAIN) == {**named, "pipeline": PLAIN}

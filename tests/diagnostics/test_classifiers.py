"""The statistics of all batch norms are estimated on the images, those of the head too."""

from __future__ import annotations

import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.testing import assert_close

from mmdino.diagnostics.classifiers import forward_all
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
    reestimate_batch_norm(model, lambda: forward_all(model, batches))
    assert norm.num_batches_tracked == 2
    assert_close(norm.running_mean, torch.stack(inputs).mean((0, 1)))
    assert_close(norm.running_var, torch.stack(inputs).var(1).mean(0))
    assert not norm.training

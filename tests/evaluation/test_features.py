"""One rule for what a feature is, and one way to it for any model."""

from __future__ import annotations

import pytest
import tiny_run
import tiny_weights
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mmdino.evaluation.features import (
    BackboneModel,
    extract_features,
    feature_of,
    pool_features,
    predict_features,
)

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
MAP = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))


def test_a_feature_is_a_class_token_or_the_mean_of_the_last_map():
    tokens = MAP.flatten(2).mT
    assert torch.equal(pool_features(MAP[:, :, 0, 0]), MAP[:, :, 0, 0])
    assert torch.equal(pool_features(tokens), tokens[:, 0])
    assert torch.equal(pool_features(MAP), MAP.mean((2, 3)))
    for outputs in ((MAP[:, :2], MAP), [tokens, MAP]):
        assert torch.equal(pool_features(outputs), MAP.mean((2, 3)))


def test_the_class_token_is_the_same_of_each_output_type():
    vit = tiny_weights.vit()
    token = vit.intermediate_tokens(IMAGES, 1)[0][:, 0]
    assert torch.equal(feature_of(vit, IMAGES), token)
    for out_type in ("raw", "features"):
        other = tiny_weights.vit(out_type=out_type)
        other.load_state_dict(vit.state_dict())
        assert torch.equal(feature_of(other, IMAGES), token)


@pytest.mark.parametrize(
    ("output", "named"),
    [(torch.zeros(4), r"shape \(4,\)"), (MAP[None], r"\(1, 2, 5, 3, 4\)"), ((), "type tuple")],
)
def test_other_outputs_are_refused(output, named):
    with pytest.raises(ValueError, match=f"{named}; a feature is a class token"):
        pool_features(output)


class Tokens(BaseModel):
    """A model without predict, as mmpretrain's: its output are tokens (B, 5, 3)."""

    def forward(self, inputs, data_samples=None, mode="tensor"):
        assert mode == "tensor"
        return nn.functional.adaptive_avg_pool2d(inputs, (1, 5)).squeeze(2).mT


def batch_of(images, number=3):
    return {"inputs": images, "data_samples": [DataSample().set_gt_label(i) for i in range(number)]}


@pytest.mark.parametrize("with_samples", [True, False])
@pytest.mark.parametrize("collated", [True, False])
def test_a_model_without_predict_gets_its_features_set(with_samples, collated):
    batch = batch_of(IMAGES if collated else list(IMAGES))
    if not with_samples:
        del batch["data_samples"]
    samples = predict_features(Tokens(), batch)
    expected = nn.functional.adaptive_avg_pool2d(IMAGES, (1, 5))[:, :, 0, 0]
    assert torch.equal(torch.stack([sample.feature for sample in samples]), expected)
    if with_samples:
        assert [int(sample.gt_label) for sample in samples] == [0, 1, 2]


def test_a_method_of_ours_and_its_bare_teacher_have_the_same_features():
    model = tiny_weights.dino(cfg=tiny_run.vit_model(data_preprocessor={}))
    bare = BackboneModel(model.teacher["backbone"])
    loader = [batch_of(IMAGES), batch_of(IMAGES[:2], 2)]
    for (ours, samples), (theirs, _) in zip(
        extract_features(model, loader), extract_features(bare, loader), strict=True
    ):
        assert len(samples) == len(ours)
        assert torch.equal(ours, theirs)
        assert not ours.requires_grad


def test_a_model_whose_predict_gives_no_feature_is_refused():
    classifier = MODELS.build(
        {
            "type": "ImageClassifier",
            "backbone": tiny_run.resnet_model()["backbone"],
            "neck": {"type": "GlobalAveragePooling"},
            "head": {"type": "LinearClsHead", "num_classes": 2, "in_channels": 64},
        }
    )
    with pytest.raises(ValueError, match=r"ImageClassifier\.predict sets no 'feature'"):
        predict_features(classifier.eval(), batch_of(IMAGES))

"""A frozen backbone stays in eval mode and has no gradients, in any mode of the model."""

from __future__ import annotations

import torch
from mmengine.registry import MODELS
from torch import nn

VIT = {
    "type": "mmdino.VisionTransformer",
    "arch": {"embed_dims": 12, "num_layers": 2, "num_heads": 2, "feedforward_channels": 48},
    "img_size": 16,
    "patch_size": 8,
    "drop_path_rate": 0.9,
}
RESNET = {"type": "ResNet", "depth": 18, "stem_channels": 8, "base_channels": 8}


def build(backbone):
    torch.manual_seed(0)
    return MODELS.build({"type": "mmdino.FrozenBackbone", "backbone": backbone})


def test_training_the_model_leaves_it_in_eval_mode():
    model = nn.ModuleDict({"backbone": build(VIT), "head": nn.Linear(12, 2)})
    assert model.train() is model
    assert model["head"].training
    assert not any(module.training for module in model["backbone"].backbone.modules())


def test_features_are_those_of_testing_and_have_no_gradient():
    frozen = build(VIT)
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    features = frozen.train()(images)[-1]
    assert not features.requires_grad
    assert torch.equal(features, frozen.eval()(images)[-1])
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_running_statistics_do_not_move():
    frozen = build(RESNET).train()
    before = {name: tensor.clone() for name, tensor in frozen.state_dict().items()}
    frozen(torch.randn(4, 3, 32, 32))
    for name, tensor in frozen.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_backbones_init_cfg_is_followed():
    frozen = build({**VIT, "init_cfg": {"type": "Constant", "layer": "Linear", "val": 0.5}})
    frozen.init_weights()
    weight = frozen.backbone.layers[0].attn.proj.weight
    assert torch.equal(weight, torch.full_like(weight, 0.5))

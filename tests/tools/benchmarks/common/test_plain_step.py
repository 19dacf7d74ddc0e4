"""The plain step is a baseline for ours: it computes the same."""

from __future__ import annotations

import torch

from common.dino_step import build_dino, dino_step
from common.options import SMOKE_MODEL
from common.plain_step import PlainStep


def test_plain_step_computes_what_ours_does():
    """Loss, gradient step, teacher and centre, so that the two times are of the same work."""
    torch.manual_seed(0)
    sizes = (SMOKE_MODEL[name] for name in ("arch", "patch", "global_size", "prototypes"))
    model = build_dino(*sizes, "cpu", drop_path_rate=0.0).double()
    with torch.no_grad():
        model.head.last_layer.weight_v.add_(torch.randn_like(model.head.last_layer.weight_v))
    plain = PlainStep(model)
    views = [torch.randint(256, (2, 3, side, side), dtype=torch.uint8) for side in (32, 32, 16, 16)]
    ours = dino_step(model, None)
    for _ in range(2):
        ours(views)
        plain(views)
    backbone, head = plain.teacher
    expected = dict(model.teacher["backbone"].named_parameters())
    torch.testing.assert_close(backbone.cls_token, expected["cls_token"], rtol=0, atol=1e-9)
    torch.testing.assert_close(
        backbone.blocks[1]["fc1"].weight,
        expected["layers.1.ffn.layers.0.0.weight"],
        rtol=0,
        atol=1e-9,
    )
    direction = head.last_layer.parametrizations.weight.original1
    torch.testing.assert_close(
        direction, model.teacher["head"].last_layer.weight_v, rtol=0, atol=1e-9
    )
    torch.testing.assert_close(plain.center, model.dino_loss.center, rtol=0, atol=1e-9)
    assert not torch.equal(expected["cls_token"], model.backbone.cls_token)

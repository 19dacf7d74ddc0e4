"""The plain step of DINOv2 is a baseline for ours: it computes the same."""

from __future__ import annotations

import pytest
import torch

from common.dinov2_step import build_dinov2, dinov2_step, draw_masks
from common.options import SMOKE_MODEL
from common.plain_dinov2_step import PlainDINOv2Step


def tiny_model(**options):
    sizes = (SMOKE_MODEL[name] for name in ("arch", "patch", "global_size", "prototypes"))
    return build_dinov2(*sizes, "cpu", **options).double()


@pytest.mark.parametrize("shared_head", [True, False])
def test_plain_step_computes_what_ours_does(shared_head):
    """Losses, gradient step, teacher and centres, so that the two times are of the same work."""
    torch.manual_seed(0)
    model = tiny_model(shared_head=shared_head, drop_path_rate=0.0, layer_scale_init_value=0.5)
    plain = PlainDINOv2Step(model)
    views = [torch.randint(256, (3, 3, side, side), dtype=torch.uint8) for side in (32, 32, 16, 16)]
    masks = draw_masks(3, 4)
    ours = dinov2_step(model, None)
    for _ in range(2):
        found = ours(views, masks.masks, masks.mask_indices)
        torch.testing.assert_close(plain(views, *masks), found, rtol=0, atol=1e-9)
    torch.testing.assert_close(plain.center, model.dino_loss.center, rtol=0, atol=1e-9)
    torch.testing.assert_close(plain.patch_center, model.ibot_loss.center, rtol=0, atol=1e-9)
    expected = dict(model.teacher.named_parameters())
    head = "head" if shared_head else "patch_head"
    backbone = plain.teacher["backbone"]
    pairs = {
        "backbone.mask_token": backbone.mask_token,
        "backbone.layers.1.ffn.gamma2.weight": backbone.blocks[1]["scale2"].gamma,
        f"{head}.mlp.0.weight": plain.teacher[head].mlp[0].weight,
    }
    for name, parameter in pairs.items():
        torch.testing.assert_close(parameter, expected[name], rtol=0, atol=1e-9, msg=name)


def test_plain_stochastic_depth_keeps_as_many_rows_as_ours(monkeypatch):
    """With the same rows kept, both networks give the same tokens."""
    torch.manual_seed(0)
    model = tiny_model(drop_path_rate=0.5, layer_scale_init_value=0.5)
    plain = PlainDINOv2Step(model)
    monkeypatch.setattr(torch, "randperm", lambda number, device=None: torch.arange(number))
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    masks = draw_masks(2, 4).masks.flatten(0, 1)
    (expected,) = model.backbone(images, masks=masks)
    tokens, patches = plain.student["backbone"](images, masks)
    torch.testing.assert_close(tokens, expected.cls, rtol=0, atol=1e-9)
    torch.testing.assert_close(patches, expected.patches, rtol=0, atol=1e-9)


def test_masks_have_no_more_patches_than_the_buffer():
    masks = draw_masks(4, 14)
    assert 0 < len(masks.mask_indices) <= masks.most
    assert masks.masks.shape == (2, 4, 196)
    # int(196 * e) for the upper edges e = 0.2, 0.3, 0.4, 0.5.
    assert masks.most == 39 + 58 + 78 + 98

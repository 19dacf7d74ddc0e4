"""Principal components of patches separate what differs, with signs and colours that are fixed."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_weights
import torch
from tiny_vit import picture, save_checkpoint, save_resnet

from mmdino.evaluation.image_input import network_input
from mmdino.evaluation.pca import fit_pca, load_map_backbone, patch_map, principal_components
from mmdino.weights.layouts import authors_vit

WIDTH = 8


def noise(rows=6, columns=9, seed=0, scale=0.1):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, columns, WIDTH, generator=generator)


def planted(seed=0, side=1.0):
    """A map whose middle differs by ``side`` in one channel, and the mask of the middle."""
    features = noise(seed=seed)
    mask = torch.zeros(features.shape[:2], dtype=torch.bool)
    mask[2:4, 3:6] = True
    features[mask] += side * 3 * torch.eye(WIDTH)[2]
    return features, mask


def test_components_are_those_of_a_singular_value_decomposition():
    maps = [noise(seed=0), noise(4, 5, seed=1) + 2]
    mean, components, variances, total = principal_components(m.flatten(0, 1) for m in maps)
    rows = np.concatenate([m.flatten(0, 1).double().numpy() for m in maps])
    _, singular, right = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    np.testing.assert_allclose(mean, rows.mean(0), atol=1e-12)
    np.testing.assert_allclose(variances, singular**2 / (len(rows) - 1), atol=1e-12)
    np.testing.assert_allclose(total, rows.var(0, ddof=1).sum())
    np.testing.assert_allclose(abs((components.numpy() * right).sum(1)), 1, atol=1e-9)


def test_the_largest_entry_of_a_component_is_positive():
    features, _ = planted()
    for maps in ([features], [-features]):
        components = fit_pca(maps).components
        largest = components.gather(1, components.abs().argmax(1, keepdim=True))
        assert (largest > 0).all()


def test_a_planted_object_has_a_colour_of_its_own_in_all_images():
    (first, mask), (second, _) = planted(0), planted(1)
    pca = fit_pca([first, second])
    assert pca.patches == 2 * mask.numel()
    assert pca.explained[0] > 0.5
    colors = [pca.colors(features) for features in (first, second)]
    assert all(
        shown.shape == (6, 9, 3) and 0 <= shown.min() <= shown.max() <= 1 for shown in colors
    )
    for shown in colors:
        assert (shown[mask][:, 0] > 0.8).all()
        assert (shown[~mask][:, 0] < 0.3).all()


@pytest.mark.parametrize("side", [1, -1])
def test_the_foreground_is_the_side_rarer_at_the_borders(side):
    features, mask = planted(side=side)
    pca = fit_pca([features], "auto")
    assert pca.patches == mask.sum()
    shown = pca.colors(features)
    assert (shown[~mask] == 0).all()
    assert (shown[mask].amax(0) > 0.5).all()


def test_the_two_sides_of_the_foreground_complete_each_other():
    features, mask = planted()
    positive, negative = (fit_pca([features], side) for side in ("positive", "negative"))
    assert torch.equal(positive.foreground.mask(features), mask)
    assert torch.equal(negative.foreground.mask(features), ~mask)


def test_a_threshold_is_in_standard_deviations_of_the_first_component():
    features, _ = planted()
    axis = fit_pca([features], "positive", 0.5).foreground
    projected = (features.double() - axis.mean) @ axis.direction
    assert axis.threshold == pytest.approx(0.5 * projected.std().item())


def test_other_images_are_clipped_to_the_colours_of_those_fitted():
    features, _ = planted()
    pca = fit_pca([features])
    assert set(pca.colors(100 * features)[..., 0].unique().tolist()) >= {0.0, 1.0}


def test_features_without_variance_are_grey():
    pca = fit_pca([torch.ones(3, 4, WIDTH)])
    assert (pca.colors(torch.ones(3, 4, WIDTH)) == 0.5).all()
    assert (pca.explained < 1e-6).all()


@pytest.mark.parametrize(
    ("maps", "options", "message"),
    [
        ([torch.rand(1, 3, WIDTH)], {}, r"images have 3 patch\(es\) of 8 channels.*larger size"),
        ([torch.rand(4, 4, 2)], {}, "images have 16 .* of 2 channels"),
        ([], {}, "images have 0 patch"),
        ([noise()], {"foreground": "auto", "threshold": 9}, "foreground has 0 patch.*threshold"),
        ([noise()], {"foreground": "left"}, "invalid foreground='left': expected one of auto, pos"),
        ([noise()], {"foreground": "auto", "threshold": float("nan")}, "threshold=nan"),
    ],
)
def test_what_cannot_be_fitted_is_explained(maps, options, message):
    with pytest.raises(ValueError, match=message):
        fit_pca(maps, **options)


def save_authors_file(path, options):
    """Writes a backbone of random weights as the authors' files of DINOv2 and DINOv3 have it."""
    vit = tiny_weights.vit(**options)
    torch.save(authors_vit.from_mmdino(vit.state_dict()), path)
    return vit


@pytest.mark.parametrize("kind", ["dinov2", "dinov2_registers", "dinov3"])
def test_patches_of_the_authors_networks_come_without_class_token_and_registers(tmp_path, kind):
    options = {**tiny_weights.DINOV2, **tiny_weights.DINOV3}[kind]
    vit = save_authors_file(tmp_path / "w.pth", options)
    backbone, _ = load_map_backbone(tmp_path / "w.pth", num_heads=tiny_weights.HEADS)
    image = picture(height=41, width=57)
    features = patch_map(backbone, image)
    assert features.shape == (5, 7, vit.embed_dims)
    pixels = network_input(image, 8, None, vit.cls_token)
    with torch.no_grad():
        (tokens,) = vit.intermediate_tokens(pixels)
    torch.testing.assert_close(features.flatten(0, 1), tokens[0, -35:])


def test_positions_of_a_resnets_last_map_are_its_patches(tmp_path):
    backbone, _ = load_map_backbone(save_resnet(tmp_path / "resnet.pth"))
    features = patch_map(backbone, picture(height=70, width=100))
    assert features.shape[:2] == (2, 3)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    backbone, _ = load_map_backbone(save_checkpoint(tmp_path / "epoch_1.pth"), num_heads=2)
    backbone.cls_token.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="patch features are not finite"):
        patch_map(backbone, picture())


def test_a_network_for_grey_images_is_refused(tmp_path):
    save_authors_file(tmp_path / "w.pth", {"in_channels": 1})
    with pytest.raises(ValueError, match=r"images of 1 channel\(s\), and the tools read colour"):
        load_map_backbone(tmp_path / "w.pth", num_heads=tiny_weights.HEADS)

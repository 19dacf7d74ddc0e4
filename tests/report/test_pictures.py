"""Images of a report, and what networks of any kind find among them."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_readers  # noqa: F401  (its reader is registered)
import tiny_run
import tiny_tools
import tiny_weights
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope

from mmdino.evaluation.features import feature_of
from mmdino.evaluation.image_input import Statistics, network_input
from mmdino.report.pictures import (
    Images,
    folder_images,
    images_of,
    map_network,
    maps_of,
    neighbours_of,
)
from mmdino.report.work_dir import SavedCheckpoint
from mmdino.weights.networks import load_backbone

RESIZED = [dict(type="ResizeEdge", scale=16), dict(type="CenterCrop", crop_size=16)]
VIEWS = dict(
    type="mmdino.MultiCropTransform", views=[dict(num=2, size=16, scale=(0.1, 0.2), gray_prob=1)]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for seed in range(3):
        tiny_tools.write_image(root / f"{seed}.png", 32, 48, seed=seed)
    return root


def build(folder, *steps):
    init_default_scope("mmpretrain")
    pipeline = [dict(type="LoadImageFromFile"), *steps]
    return DATASETS.build(dict(type="mmdino.ImageFolder", data_root=str(folder), pipeline=pipeline))


def test_images_are_whole_where_the_validation_gives_views(folder):
    of_views = images_of(build(folder, VIEWS, dict(type="mmdino.PackViews")), 2, bgr=True)
    whole = images_of(build(folder, *RESIZED, dict(type="PackInputs")), 2, bgr=True)
    assert of_views.names == whole.names
    assert of_views.source == "2 of the 3 images of the validation"
    for shown, expected in zip(of_views.pixels, whole.pixels, strict=True):
        # Interpolated otherwise: what is the same is which part, and the order of the channels.
        assert np.corrcoef(shown.ravel(), expected.ravel())[0, 1] > 0.6


@pytest.mark.parametrize(
    "config",
    [
        dict(type="DeiT3", arch=tiny_run.ARCH, img_size=16, patch_size=8),
        dict(type="ResNet_CIFAR", depth=18, base_channels=4, stem_channels=4),
    ],
    ids=["class token of mmpretrain", "map"],
)
def test_neighbours_are_found_by_any_backbone(config):
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (16, 16, 3)).astype(np.uint8) for _ in range(3)]
    images = Images([*pixels, pixels[0]], ["a", "b", "c", "a again"], [], "noise")
    backbone = MODELS.build({**config, "_scope_": "mmpretrain"})
    backbone.eval()
    assert neighbours_of(backbone, images, queries=1, k=2, iteration=0).index[0, 0] == 3


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A folder of images (32, 48) of two channels and 16 bits."""
    root = tmp_path_factory.mktemp("deep")
    rng = np.random.default_rng(0)
    for seed in range(3):
        np.save(root / f"{seed}.npy", rng.integers(65536, size=(32, 48, 2)).astype(np.uint16))
    return root


LOAD = dict(type="mmdino.LoadImage", reader="read_array", channels=2)
STATISTICS = Statistics(mean=[100.0, 110], std=[50.0, 60])


@pytest.fixture(scope="module")
def of_two_channels(tmp_path_factory):
    """The checkpoint of a run on such images."""
    vit = {**tiny_weights.VIT, "patch_size": 8, "img_size": 16, "in_channels": 2}
    model = dict(type="mmdino.DINO", backbone=vit, data_preprocessor=STATISTICS._asdict())
    loader = dict(dataset=dict(type="mmdino.ImageFolder", extensions=[".npy"], pipeline=[LOAD]))
    state = tiny_weights.vit(img_size=16, in_channels=2).state_dict()
    path = tmp_path_factory.mktemp("run") / "epoch_1.pth"
    meta = {"cfg": Config(dict(model=model, train_dataloader=loader)).pretty_text}
    state = {f"backbone.{name}": tensor for name, tensor in state.items()}
    torch.save({"meta": meta, "state_dict": state}, path)
    return SavedCheckpoint(path, 4)


@pytest.mark.parametrize("views", [True, False], ids=["views", "whole images"])
def test_networks_see_all_channels_and_bits(deep, views):
    """The picture shows one of two channels, by its range; the network gets both, 0 to 255."""
    view = dict(num=2, size=16, scale=(0.1, 0.2), jitter_prob=0, gray_prob=0, solarize_prob=0)
    draw = dict(type="mmdino.MultiCropTransform", views=[view])
    steps = [draw, dict(type="mmdino.PackViews")] if views else [*RESIZED, dict(type="PackInputs")]
    init_default_scope("mmpretrain")
    dataset = dict(type="mmdino.ImageFolder", data_root=str(deep), extensions=[".npy"])
    images = images_of(DATASETS.build({**dataset, "pipeline": [LOAD, *steps]}), 2, bgr=True)
    for shown, levels in zip(images.pixels, images.inputs, strict=True):
        assert (shown.shape, shown.dtype) == ((16, 16, 3), np.uint8)
        assert (levels.shape, levels.dtype) == ((16, 16, 2), np.float32)
        assert 0 <= levels.min() < 60
        assert 190 < levels.max() <= 255
        assert np.corrcoef(shown[..., 0].ravel(), levels[..., 0].ravel())[0, 1] > 0.99


def test_maps_and_neighbours_are_normalised_as_in_the_run(deep, of_two_channels):
    images = folder_images(deep, 3, of_two_channels)
    assert images.source.startswith("3 of the 3 images of deep")
    backbone, statistics = map_network(of_two_channels)
    assert statistics == Statistics(tuple(STATISTICS.mean), tuple(STATISTICS.std))
    maps = maps_of(backbone, images.inputs, 4, statistics)
    assert [each.shape for each in (*maps.attention, *maps.components)] == [(2, 2, 3)] * 6
    network = load_backbone(of_two_channels.path)
    found = neighbours_of(network, images, 1, 2, 4, statistics)
    mean, std = (np.array(each, np.float32) for each in STATISTICS)
    pixels = np.stack([(levels - mean) / std for levels in images.inputs])
    features = feature_of(network, torch.tensor(pixels).permute(0, 3, 1, 2))
    similar = torch.cosine_similarity(features[:1], features[1:])
    np.testing.assert_allclose(found.similarity[0], similar.sort(descending=True)[0], atol=1e-5)


def test_an_image_of_other_channels_is_refused(of_two_channels):
    image = np.zeros((16, 16, 3), np.uint8)
    like = torch.zeros(1)
    with pytest.raises(ValueError, match=r"\(H, W, 2\) of uint8 or float32, got uint8 .*16, 16, 3"):
        network_input(image, 8, None, like, STATISTICS)

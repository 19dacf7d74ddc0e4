"""Images of any channels and bits, and those in tar shards, are embedded as the run saw them."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
import tiny_readers  # noqa: F401  (its reader is registered)
import tiny_tools
import tiny_weights
import torch
from mmengine.config import Config
from PIL import Image

from mmdino.evaluation.embedding import embed
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.features import feature_of
from mmdino.evaluation.stored_input import ImageInput, read_by, stored_input
from mmdino.weights.networks import load_backbone

SIZES = dict(size=32, crop=32, batch_size=2, workers=0)
STATISTICS = dict(mean=[100.0, 110, 120, 130], std=[50.0, 60, 70, 80])


def save_run(path, pipeline=(), channels=3, **preprocessor):
    """Writes the checkpoint of a run whose network takes images of some channels."""
    cfg = {**tiny_weights.VIT, "patch_size": 8, "img_size": 32, "in_channels": channels}
    backbone = tiny_weights.vit(img_size=32, in_channels=channels)
    dataset = dict(type="mmdino.ImageFolder", extensions=[".npy"], pipeline=list(pipeline))
    text = Config(
        {
            "model": {"type": "mmdino.DINO", "backbone": cfg, "data_preprocessor": preprocessor},
            "train_dataloader": {"dataset": {"type": "RepeatDataset", "dataset": dataset}},
        }
    ).pretty_text
    state = {f"backbone.{name}": tensor for name, tensor in backbone.state_dict().items()}
    torch.save({"meta": {"cfg": text}, "state_dict": state}, path)
    return path


def expected(checkpoint, images, mean, std):
    """Features of images (N, H, W, C), 0 to 255."""
    pixels = torch.tensor(np.stack(images)).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values)[:, None, None] for values in (mean, std))
    return feature_of(load_backbone(checkpoint), ((pixels - mean) / std).float())


def test_images_of_four_channels_are_read_and_normalised_as_in_the_run(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "arrays"
    folder.mkdir()
    deep = rng.integers(65536, size=(32, 32, 5)).astype(np.uint16)
    flat = rng.integers(256, size=(32, 32, 4)).astype(np.uint8)
    np.save(folder / "a.npy", deep)
    np.save(folder / "b.npy", flat)
    (folder / "c.npy").write_bytes(b"broken")
    reader = dict(type="read_array", channels=4)
    load = dict(type="mmdino.LoadImage", reader=reader, channels=4)
    checkpoint = save_run(tmp_path / "epoch_1.pth", [load], channels=4, **STATISTICS)
    bank = embed(checkpoint, folder, tmp_path / "bank", **SIZES)
    assert bank.names == ["a.npy", "b.npy"]
    assert list(bank.unreadable) == ["c.npy"]
    images = [deep[..., :4] / 257, flat.astype(float)]
    features = expected(checkpoint, images, **STATISTICS)
    torch.testing.assert_close(torch.tensor(bank[:]), features, rtol=1e-4, atol=1e-4)
    # The same by an argument, for a run that says nothing of it.
    silent = save_run(tmp_path / "silent.pth", channels=4, **STATISTICS)
    again = embed(silent, folder, tmp_path / "again", reader=reader, extensions=[".npy"], **SIZES)
    np.testing.assert_array_equal(again[:], bank[:])
    assert again.plan["loading"]["reader"] == reader


def test_search_reads_queries_and_draws_frames_of_what_is_no_picture(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "arrays"
    folder.mkdir()
    for number in range(3):
        values = np.random.default_rng(number).integers(256, size=(32, 32, 2)).astype(np.uint8)
        np.save(folder / f"{number}.npy", values)
    load = dict(type="mmdino.LoadImage", reader=dict(type="read_array", channels=2))
    statistics = dict(mean=[120.0, 120], std=[60.0, 60])
    checkpoint = save_run(tmp_path / "epoch_1.pth", [load], channels=2, **statistics)
    embed(checkpoint, folder, tmp_path / "bank", **SIZES)
    arguments = [tmp_path / "bank", folder, "--k", "1", "--figure", tmp_path / "found.jpg"]
    code, out, _ = tiny_tools.end("search.py", arguments, monkeypatch, capsys)
    assert code == 0
    assert out.count("   1   1.000  ") == 3
    assert Image.open(tmp_path / "found.jpg").size[0] > 500


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A folder with four images, and the same in two shards, with class indices."""
    root = tmp_path_factory.mktemp("shards")
    for number in range(4):
        tiny_tools.write_image(root / "photos" / f"{number}.png", seed=number)
    (root / "data").mkdir()
    for shard in range(2):
        with tarfile.open(root / "data" / f"train-{shard}.tar", "w") as archive:
            for number in (2 * shard, 2 * shard + 1):
                archive.add(root / "photos" / f"{number}.png", f"./{number}.png")
                label = tarfile.TarInfo(f"./{number}.cls")
                label.size = 1
                archive.addfile(label, io.BytesIO(str(number % 2).encode()))
    save_run(root / "epoch_1.pth")
    return root


@pytest.mark.parametrize("place", ["data", "data/train-{0..1}.tar", "data/train-*.tar"])
def test_shards_give_the_features_of_the_folder(shards, tmp_path, place):
    checkpoint = shards / "epoch_1.pth"
    of_folder = embed(checkpoint, shards / "photos", tmp_path / "folder.npz", **SIZES)
    # Beside the shards, where features of a folder would be refused.
    bank = embed(checkpoint, shards / place, shards / "data" / f"{len(place)}.npz", **SIZES)
    np.testing.assert_array_equal(bank[:], of_folder[:])
    assert bank.names == [f"train-{number // 2}.tar/{number}.png" for number in range(4)]
    assert not bank.has_classes


def test_shards_have_labels_and_pictures(shards, tmp_path, monkeypatch, capsys):
    arguments = [shards / "epoch_1.pth", shards / "data", tmp_path / "bank", "--labels", "folders"]
    options = ["--size", 32, "--crop", 32, "--workers", 0]
    code, out, _ = tiny_tools.end(
        "extract_features.py", [*arguments, *options], monkeypatch, capsys
    )
    assert code == 0
    assert "4 features of 12 numbers, 2 classes" in out
    figure = tmp_path / "found.png"
    query = shards / "photos" / "2.png"
    code, out, _ = tiny_tools.end(
        "search.py", [tmp_path / "bank", query, "--k", 1, "--figure", figure], monkeypatch, capsys
    )
    assert code == 0
    assert "1   1.000  train-1.tar/2.png" in out
    assert "are not in" not in out
    # The query and its only neighbour are the same picture.
    pixels = np.asarray(Image.open(figure).convert("RGB")).astype(int)
    assert np.abs(pixels[:, 24:152] - pixels[:, 164:292]).mean() < 12


def test_a_list_does_not_go_with_shards(shards, tmp_path):
    with pytest.raises(ValueError, match=r"together with the shards .*Leave it out"):
        embed(shards / "epoch_1.pth", shards / "data", tmp_path / "bank", list="list.txt")
    with pytest.raises(FileNotFoundError, match=r"No shard .*none-\*\.tar"):
        embed(shards / "epoch_1.pth", shards / "data" / "none-*.tar", tmp_path / "bank")


@pytest.mark.parametrize("reader", ["os.system", {"type": "os.system"}, "json.loads", {}, None, 3])
def test_a_reader_is_a_registered_function(reader):
    pipeline = [dict(type="mmdino.LoadImage", reader=reader)]
    text = f"train_dataloader = {dict(dataset=dict(pipeline=pipeline))}"
    for call in (
        lambda: stored_input({"cfg": text}),
        lambda: read_by(ImageInput(), reader, None),
    ):
        with pytest.raises(ValueError, match=r"which is not registered here\. .*--reader"):
            call()


STEPS = "[dict(type='ResizeEdge', scale=40), dict(type='CenterCrop', crop_size=32)]"

FULL_NAMES = (
    "[dict(type='mmpretrain.datasets.transforms.ResizeEdge', scale=40),"
    "dict(type='mmcv.transforms.CenterCrop', crop_size=32)]"
)


@pytest.mark.parametrize(
    ("text", "given", "expected"),
    [
        ("", {}, (256, 224)),
        ("model = dict(backbone=dict(img_size=64))", {}, (73, 64)),
        ("model = dict(backbone=dict(img_size=[64, 96]))", {}, (73, 64)),
        (f"val_dataloader = dict(dataset=dict(pipeline={STEPS}))", {}, (40, 32)),
        (f"val_dataloader = dict(dataset=dict(pipeline={FULL_NAMES}))", {}, (40, 32)),
        (f"val_dataloader = dict(dataset=dict(pipeline={STEPS}))", {"crop": 16}, (20, 16)),
        (f"val_dataloader = dict(dataset=dict(pipeline={STEPS}))", {"size": 20}, (20, 16)),
        ("model = dict(backbone=dict(img_size=64))", {"size": 32, "crop": 32}, (32, 32)),
        ("model = dict(backbone=dict(img_size=[]))", {}, (256, 224)),
        ("model = dict(backbone=dict(img_size=10**9))", {}, (256, 224)),
    ],
)
def test_sizes_are_those_of_the_run_unless_given(text, given, expected):
    found = stored_input({"cfg": text})
    options = ExtractionOptions(**given).with_sizes(found.size, found.crop)
    assert (options.size, options.crop) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model = dict(data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6]))", (True, (1, 2, 3))),
        ("model = dict(data_preprocessor=dict(mean=None, std=[4]))", (True, ImageInput().mean)),
        ("train_dataloader = dict(dataset=dict(pipeline=[1, dict(type=2)]))", (True, None)),
        ("train_dataloader = dict(dataset=[])", (True, None)),
        (
            "train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile',"
            "color_type='unchanged', to_float32=True)]))",
            (False, None),
        ),
        (
            "train_dataloader = dict(dataset=dict(pipeline=[dict("
            "type='mmcv.transforms.LoadImageFromFile', color_type='grayscale')]))",
            (False, None),
        ),
        (
            "train_dataloader = dict(dataset=dict(pipeline=[dict("
            "type='mmdino.datasets.LoadImage', reader='mmdino.read_tiff', channels=3)]))",
            (False, None),
        ),
    ],
)
def test_what_a_config_says_and_does_not_say(text, expected):
    is_color, mean = expected
    found = stored_input({"cfg": text})
    assert (found.is_color, found.mean) == (is_color, mean or ImageInput().mean)

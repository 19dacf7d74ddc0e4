"""Images that a function reads: what they hold, and a run on them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS
from tiny_folder import SMALL, pretrain

from mmdino.datasets.readers.reading import reading_from
from mmdino.evaluation.embedding import embed
from mmdino.folder_recipe.config_file import write_config
from mmdino.folder_recipe.images import look_at_images
from mmdino.folder_recipe.machine import this_machine
from mmdino.folder_recipe.recipe import choose

SIZES = dict(batch_size=4, workers=0)


READING = reading_from("tiny_readers.read_array", [".NPY"])


def save(folder, number, channels=5, dtype=np.uint16, shape=(20, 24)):
    """Writes noise, of whose channels the first is the darkest."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max * np.arange(1, channels + 1) / channels
    for index in range(number):
        np.save(folder / f"{index}.npy", rng.uniform(0, top, (*shape, channels)).astype(dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels_bits_and_statistics_are_those_of_all_pixels(tmp_path, dtype):
    save(tmp_path, 3, dtype=dtype)
    (tmp_path / "broken.npy").write_bytes(b"no array")
    (tmp_path / "picture.png").touch()
    facts = look_at_images(tmp_path, READING)
    assert facts.headers == ((24, 20, 5, 8 * np.dtype(dtype).itemsize),) * 3
    assert [image.path for image in facts.unreadable] == ["broken.npy"]
    assert facts.source == {"extensions": [".npy"]}
    pixels = np.concatenate([np.load(tmp_path / f"{i}.npy") for i in range(3)]).reshape(-1, 5)
    scale = 255 / np.iinfo(dtype).max
    np.testing.assert_allclose(facts.mean, scale * pixels.mean(0), atol=0.01)
    np.testing.assert_allclose(facts.std, scale * pixels.std(0), atol=0.01)


def test_statistics_of_three_channels_are_in_rgb(tmp_path):
    save(tmp_path, 2, channels=3)
    mean = look_at_images(tmp_path, READING).mean
    assert mean[0] < mean[1] < mean[2]


def test_a_channel_of_one_value_has_a_deviation(tmp_path):
    np.save(tmp_path / "0.npy", np.full((9, 9, 2), 7, np.uint8))
    facts = look_at_images(tmp_path, READING)
    assert (facts.mean, facts.std) == ((7, 7), (1, 1))


def test_images_in_shards_are_read(tmp_path):
    save(tmp_path / "arrays", 3)
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for index in range(3):
            shard.add(tmp_path / "arrays" / f"{index}.npy", f"{index}.npy")
    facts = look_at_images(tmp_path / "a.tar", READING)
    assert facts.headers == ((24, 20, 5, 16),) * 3
    assert facts.source == {"type": "mmdino.TarShards", "shards": "a.tar", "extensions": [".npy"]}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (dict(channels=4), r"b.0\.npy 4 channel\(s\) of 16 bits and others 5 channel\(s\) of 16"),
        (dict(dtype=np.uint8), r"b.0\.npy 5 channel\(s\) of 8 bits and others .* value_range="),
    ],
)
def test_images_that_differ_in_channels_or_bits_are_refused(tmp_path, other, message):
    save(tmp_path / "a", 1)
    save(tmp_path / "b", 1, **other)
    with pytest.raises(TypeError, match=message):
        look_at_images(tmp_path, READING)


@pytest.mark.parametrize(
    ("reading", "error", "message"),
    [
        (("nothing", [".npy"]), ValueError, "'nothing', which is not in the registry"),
        (({"type": "tiny_readers.read_array", "x": 1}, [".npy"]), TypeError, "argument 'x'"),
        (("mmdino.read_dicom", [".npy"]), ValueError, r"None of the 1 images .*no DICOM"),
        (("mmdino.read_tiff", None), FileNotFoundError, r"extensions: 1 .*Name .* --extensions"),
    ],
)
def test_a_reader_that_does_not_fit_is_refused(tmp_path, reading, error, message):
    save(tmp_path, 1)
    with pytest.raises(error, match=message):
        look_at_images(tmp_path, reading_from(*reading))


def test_names_that_are_no_utf8_are_described(tmp_path):
    save(tmp_path, 1)
    Path(tmp_path, "a\udcff.npy").touch()
    look_at_images(tmp_path, READING).describe().encode()


@pytest.mark.parametrize(
    ("reader", "extensions", "error", "message"),
    [
        (None, [".dcm"], ValueError, r"extensions=\['\.dcm'\] were given without a reader"),
        (
            "mmdino.read_dicom",
            ".dcm",
            TypeError,
            r"extensions='\.dcm': expected a list, \['\.dcm'\]",
        ),
        ("mmdino.read_dicom", [], ValueError, r"extensions=\[\] is no file: name one"),
        ({"type": "f", "path": Path("a")}, None, TypeError, "arguments must be numbers, texts, li"),
        ({"type": "f", "top": np.float64(1)}, None, TypeError, "arguments must be numbers, texts"),
    ],
)
def test_what_cannot_be_kept_in_a_config_is_refused(reader, extensions, error, message):
    assert reading_from(None, None) is None
    with pytest.raises(error, match=message):
        reading_from(reader, extensions)


@pytest.mark.parametrize("number", [20, 320], ids=["all", "a tenth held out"])
@pytest.mark.parametrize(
    "reader",
    [
        {"type": "tiny_readers.read_array", "channels": 2},
        {"type": "mmdino.read_tiff", "bands": [0, 1], "value_range": (0, 1.5)},
    ],
    ids=["own", "mmdino's"],
)
def test_the_config_reads_the_images_of_shards(tmp_path, number, reader):
    save(tmp_path / "arrays", 1)
    content = (tmp_path / "arrays" / "0.npy").read_bytes()
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for index in range(number):
            info = tarfile.TarInfo(f"{index}.npy")
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    facts = look_at_images(tmp_path / "a.tar", READING)
    recipe = choose(facts, this_machine())
    args = ("", facts.root, tmp_path / "run", None, facts.source, reader)
    cfg = Config.fromfile(write_config(recipe, *args))
    loaders = [cfg.train_dataloader] + ([cfg.val_dataloader] if number > 100 else [])
    for loader in loaders:
        load = loader.dataset.pipeline[0]
        assert load == dict(type="mmdino.LoadImage", reader=reader, channels=5)
        assert loader.dataset.extensions == [".npy"]
    own = {"imports": ["tiny_readers"], "allow_failed_imports": False}
    assert cfg.get("custom_imports") == (own if "array" in reader["type"] else None)
    if own == cfg.get("custom_imports"):
        dataset = {**cfg.train_dataloader.dataset, "pipeline": []}
        assert len(DATASETS.build(dataset)) == number - recipe["hold_out"]


@pytest.fixture(scope="module", params=[(5, (90, 100)), (3, (20, 24)), (1, (20, 24))], ids=str)
def trained(request, tmp_path_factory):
    """A folder of arrays in two classes, and the checkpoint of an epoch on them."""
    root = tmp_path_factory.mktemp("folder")
    channels, shape = request.param
    for label in ("cat", "dog"):
        save(root / "images" / label, 10, channels, shape=shape)
    reader = {"type": "tiny_readers.read_array", "channels": channels}
    options = dict(epochs=1, cfg_options=SMALL, extensions=[".npy"])
    return root, pretrain(root, reader=reader, **options), channels


def test_a_run_normalises_and_validates_what_the_reader_gives(trained):
    root, _, channels = trained
    cfg = Config.fromfile(root / "run" / "recipe" / "pretrain.py")
    assert cfg.model.backbone.in_channels == channels
    facts = look_at_images(root / "images", READING)
    assert cfg.model.data_preprocessor.mean == list(facts.mean)
    assert cfg.model.data_preprocessor.std == list(facts.std)
    scalars = next((root / "run").glob("*/vis_data/scalars.json")).read_text()
    assert scalars.count("knn/top1") == 2
    html = (root / "run" / "report.html").read_text()
    for title in ("Views", "What the network sees", "Nearest neighbours"):
        assert f"<h2>{title}</h2>" in html


def test_its_network_embeds_the_same_files(trained, tmp_path):
    root, checkpoint, _ = trained
    reader = {"type": "tiny_readers.read_array"}
    given = dict(reader=reader, extensions=[".npy"], **SIZES)
    bank = embed(checkpoint, root / "images", tmp_path / "bank", **given)
    assert len(bank.names) == 20
    assert torch.tensor(bank[:]).isfinite().all()

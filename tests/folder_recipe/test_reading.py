"""Images that a function reads: what they hold, and a run on them."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS
from tiny_folder import SMALL, pretrain

from mmdino.evaluation.embedding import embed
from mmdino.folder_recipe.images import look_at_images
from mmdino.folder_recipe.reading import Reading, reading_from

SIZES = dict(batch_size=4, workers=0)


@FUNCTIONS.register_module()
def read_array_of_test(content, channels=None):
    return np.load(io.BytesIO(content))[..., :channels]


READING = Reading("read_array_of_test", [".NPY"])


def save(folder, number, channels=5, dtype=np.uint16):
    """Writes noise, of whose channels the first is the darkest."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max * np.arange(1, channels + 1) / channels
    for index in range(number):
        np.save(folder / f"{index}.npy", rng.uniform(0, top, (20, 24, channels)).astype(dtype))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels_bits_and_statistics_are_those_of_all_pixels(tmp_path, dtype):
    save(tmp_path, 3, dtype=dtype)
    (tmp_path / "broken.npy").write_bytes(b"no array")
    (tmp_path / "picture.png").touch()
    facts = look_at_images(tmp_path, READING)
    assert facts.headers == ((24, 20, 5, 8 * np.dtype(dtype).itemsize),) * 3
    assert [line.split(" ")[0] for line in facts.unreadable] == ["broken.npy"]
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


def test_images_that_differ_in_their_channels_are_refused(tmp_path):
    save(tmp_path / "a", 1, channels=4)
    save(tmp_path / "b", 1, channels=5)
    with pytest.raises(TypeError, match=r"b.0\.npy 5 channel\(s\) and others 4: .*bands="):
        look_at_images(tmp_path, READING)


@pytest.mark.parametrize(
    ("reading", "error", "message"),
    [
        (Reading("nothing", [".npy"]), ValueError, "'nothing', which is not in the registry"),
        (Reading({"type": "read_array_of_test", "x": 1}, [".npy"]), TypeError, "argument 'x'"),
        (Reading("mmdino.read_dicom", [".npy"]), ValueError, r"None of the 1 images .*no DICOM"),
        (Reading("mmdino.read_tiff"), FileNotFoundError, r"No image in .*other extensions: 1"),
    ],
)
def test_a_reader_that_does_not_fit_is_refused(tmp_path, reading, error, message):
    save(tmp_path, 1)
    with pytest.raises(error, match=message):
        look_at_images(tmp_path, reading)


def test_extensions_need_a_reader():
    assert reading_from(None, None) is None
    with pytest.raises(ValueError, match=r"extensions=\['\.dcm'\] were given without a reader"):
        reading_from(None, [".dcm"])


@pytest.fixture(scope="module", params=[5, 3, 1])
def trained(request, tmp_path_factory):
    """A folder of arrays in two classes, and the checkpoint of an epoch on them."""
    root = tmp_path_factory.mktemp("folder")
    for label in ("cat", "dog"):
        save(root / "images" / label, 10, channels=request.param)
    reader = {"type": "read_array_of_test", "channels": request.param}
    options = dict(epochs=1, cfg_options=SMALL, extensions=[".npy"])
    return root, pretrain(root, reader=reader, **options), request.param


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
    bank = embed(checkpoint, root / "images", tmp_path / "bank", **SIZES)
    assert len(bank.names) == 20
    assert torch.tensor(bank[:]).isfinite().all()

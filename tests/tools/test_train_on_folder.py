"""``tools/train.py --data FOLDER``: what is refused, and that it hands on what was asked for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tiny_tools import end, write_image

from mmdino.folder_recipe import prepare, pretraining
from mmdino.folder_recipe.rate import Rate


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folders of images of several kinds."""
    root = tmp_path_factory.mktemp("folders")
    for index in range(16):
        write_image(root / "images" / f"{index}.png")
    for index in range(3):
        write_image(root / "three" / f"{index}.png")
    (root / "none").mkdir()
    return root


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "name a config or, with --data, a folder"),
        ("--data images --time 30 min", "got both a config, 'min', and --data images"),
        (
            "dino_demo --time 5m",
            "--size, --reader, --extensions belong to --data",
        ),
        ("--data images --time 5m --epochs 3", "--epochs: not allowed with argument --time"),
        ("--data images --time 5", "invalid time '5': expected a number with a unit"),
        ("--data images --epochs 0", "epochs=0; it must be a whole number at least 1"),
        ("--data images --size large", "argument --size: invalid choice: 'large'"),
        ("--data images --resume", "--resume goes with the config that --data wrote"),
        ("--data images --launcher pytorch", "--data chooses a recipe for one process"),
        ("--data nowhere", "The image folder 'nowhere' does not exist."),
        ("--data none", "No image in "),
        ("--data three", "has 3 image(s) that can be read, too few to learn from"),
        ("--data images --work-dir images/run", "lies in the folder of images"),
        ("--data images/0.png", "is no folder of images, and no list of them"),
        ("--data none/*.tar", "No shard"),
        ("dino_demo --reader mmdino.read_tiff", "--extensions belong to --data"),
        ("--data images --extensions .dcm", "['.dcm'] were given without a reader of such files"),
        ("--data images --reader nothing", "reader 'nothing', which is not in the registry"),
        ("--data images --reader {5", "argument --reader: '{5' is no Python dict"),
        ("--data images --reader mmdino.read_tiff", "None of the 16 images of 'images'"),
    ],
)
def test_what_cannot_be_trained_is_one_line(root, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(root)
    code, _, written = end("train.py", arguments.split(), monkeypatch, capsys)
    assert code == 2
    assert message in written.strip().splitlines()[-1]
    assert not (root / "work_dirs").exists()


def test_the_written_config_is_what_is_trained(root, tmp_path, monkeypatch, capsys):
    trained = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(prepare, "measure_rate", lambda cfg: Rate(0.5, 9, 4, 0.0))
    monkeypatch.setattr("mmdino.engine.training.train", lambda *given: trained.append(given))
    checkpoint = tmp_path / "work_dirs" / "dino_images" / "epoch_7.pth"
    newest = SimpleNamespace(found=SimpleNamespace(path=checkpoint))
    monkeypatch.setattr(pretraining, "newest_checkpoint", lambda work_dir: newest)
    arguments = ["--data", root / "images", "--epochs", "7", "--size", "small"]
    code, shown, written = end("train.py", arguments, monkeypatch, capsys)
    assert code == 0, written
    ((cfg, resume),) = trained
    assert resume is None
    assert cfg.filename == str(tmp_path / "work_dirs/dino_images/recipe/pretrain.py")
    assert (cfg.train_cfg.max_epochs, cfg.model.head.in_channels) == (7, 384)
    assert "16 images. Looked at 16" in shown
    assert "7 epoch(s) of 4 batches: about 14 s" in shown
    assert f"  mmdino embed {checkpoint} {root / 'images'} features.npz" in shown
    code, _, written = end("train.py", arguments, monkeypatch, capsys)
    assert code == 2
    assert "has a recipe already" in written.strip().splitlines()[-1]

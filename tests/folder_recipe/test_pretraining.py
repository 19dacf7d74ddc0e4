"""``mmdino.pretrain`` and ``mmdino.load_backbone``, from a folder to features."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.registry import HOOKS
from tiny_folder import SMALL, pretrain

import mmdino
from mmdino.engine.training import NEWEST, train
from mmdino.folder_recipe import images, recipe
from mmdino.folder_recipe import prepare as module
from mmdino.folder_recipe.prepare import read_recipe
from mmdino.folder_recipe.rate import Rate, measure_rate


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Grey images of 16 bits in two classes, and the checkpoint of two epochs on them."""
    root = tmp_path_factory.mktemp("folder")
    for label in ("cat", "dog"):
        write_images(root / "images" / label, 10)
    return root, pretrain(root, epochs=2, cfg_options=SMALL)


def write_images(folder, number):
    """Writes noise of 16 bits."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(number):
        image = rng.integers(0, 2**16, (20, 24)).astype(np.uint16)
        cv2.imwrite(str(folder / f"{index}.png"), image)


def test_a_folder_is_pretrained(trained):
    root, checkpoint = trained
    assert checkpoint == root / "run" / "epoch_2.pth"
    text = (root / "run" / "recipe" / "pretrain.py").read_text()
    assert 'color_type = "unchanged"' in text
    assert "max_epochs = 2  # As asked for." in text
    scalars = next((root / "run").glob("*/vis_data/scalars.json")).read_text()
    assert scalars.count("knn/top1") == 3  # untrained, and after each epoch
    assert "Finished at iteration 10." in (root / "run" / "report.html").read_text()


def test_unreadable_images_do_not_end_a_run_with_classes(tmp_path, monkeypatch):
    """Of four that are looked at, one is unreadable; validations meet the others."""
    monkeypatch.setattr(images, "MAX_HEADERS", 4)
    for label in ("cat", "dog"):
        write_images(tmp_path / "images" / label, 14)
    for name in ("cat/0.png", "cat/5.png", "cat/8.png", "dog/5.png"):
        (tmp_path / "images" / name).write_bytes(b"")
    pretrain(tmp_path, epochs=1, cfg_options=SMALL)
    folder = tmp_path / "run" / "recipe"
    listed = "".join((folder / f"knn_{name}.txt").read_text() for name in ("bank", "queries"))
    assert "cat/0.png" not in listed
    assert {"cat/5.png 0", "cat/8.png 0", "dog/5.png 1"} <= set(listed.splitlines())
    scalars = next((tmp_path / "run").glob("*/vis_data/scalars.json")).read_text()
    assert scalars.count("knn/top1") == 2  # untrained, and after the epoch


def test_without_classes_held_out_images_show_whether_features_improve(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "LEAST_TO_HOLD_OUT", 110)
    write_images(tmp_path / "images", 110)
    no_bank = {name: value for name, value in SMALL.items() if "bank" not in name}
    pretrain(tmp_path, epochs=1, cfg_options=no_bank)
    scalars = next((tmp_path / "run").glob("*/vis_data/scalars.json")).read_text()
    assert scalars.count("features/neighbor_overlap") == 2  # untrained, and after the epoch


class Killed(Exception):
    """Ends a run."""


class Kill(Hook):
    """Ends a run within its only epoch."""

    priority = "LOWEST"

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == 4:
            raise Killed


def test_a_run_of_one_long_epoch_resumes_within_it(tmp_path, monkeypatch):
    """Five batches of 400 s, by the rate, so that there is a checkpoint after three."""
    monkeypatch.setitem(HOOKS.module_dict, "Kill", Kill)
    write_images(tmp_path / "images", 20)
    no_validation = {name: value for name, value in SMALL.items() if not name.startswith("val")}
    monkeypatch.setattr(module, "measure_rate", lambda cfg: Rate(400.0, 9, 5, 0.0))
    ends = []
    for name in ("whole", "killed"):
        path = module.prepare(
            tmp_path / "images", tmp_path / name, module.Wish("tiny", epochs=1), say=list
        )
        cfg = read_recipe(path, no_validation)
        if name == "killed":
            with pytest.raises(Killed):
                train(read_recipe(path, no_validation | {"custom_hooks": [{"type": "Kill"}]}))
            assert [file.name for file in (tmp_path / name).glob("*.pth")] == ["iter_3.pth"]
        runner = train(cfg, resume=NEWEST if name == "killed" else None)
        ends.append(runner.model.state_dict())
    assert runner.iter == 5
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name


def test_the_trial_of_the_steps_leaves_the_log_to_the_run(trained, capfd):
    root, _ = trained
    path = root / "run" / "recipe" / "pretrain.py"
    cfg = read_recipe(path, SMALL | {"optim_wrapper.precision": "bfloat16"})
    MMLogger.get_instance("trial", log_level="INFO").info("before")
    measure_rate(cfg, seconds=0)
    MMLogger.get_current_instance().info("after")
    shown = "".join(capfd.readouterr())
    assert "before" in shown
    assert "after" in shown
    assert "Mixed precision" not in shown


def test_the_folder_is_given_back(trained):
    root, _ = trained
    assert (root / "run" / ".lock").exists()
    with pytest.raises(
        ValueError, match=r"has a recipe already.*pretrain\.py --resume .*--work-dir"
    ):
        mmdino.pretrain(root / "images", root / "run")


def test_its_backbone_computes_features(trained):
    _, checkpoint = trained
    backbone = mmdino.load_backbone(checkpoint)
    found = backbone.preprocessing
    assert (found.size, found.patch_size) == (20, 4)
    # Those of the run, not ImageNet's of three channels.
    assert (found.mean, found.std) == ((116.28,), (57.12,))
    assert not backbone.training
    assert not any(p.requires_grad for p in backbone.parameters())
    images = torch.full((2, 1, 20, 20), 116.28)
    torch.testing.assert_close(backbone.normalise(images), torch.zeros(2, 1, 20, 20))
    features = backbone(backbone.normalise(images))
    assert features.shape == (2, 12)
    torch.testing.assert_close(features, backbone.backbone(torch.zeros(2, 1, 20, 20))[-1])


def test_statistics_can_be_given_and_must_fit(trained):
    _, checkpoint = trained
    backbone = mmdino.load_backbone(checkpoint, "student", mean=[1.0], std=[2.0])
    assert backbone.normalise(torch.full((1, 1, 4, 4), 5.0)).unique().tolist() == [2.0]
    with pytest.raises(ValueError, match=r"takes 1 channel\(s\), but mean=\(1.0, 2.0\)"):
        mmdino.load_backbone(checkpoint, mean=[1.0, 2.0])


def test_a_file_without_a_config_has_imagenets(trained, tmp_path):
    _, checkpoint = trained
    content = torch.load(checkpoint, weights_only=False)
    torch.save({"state_dict": content["state_dict"]}, tmp_path / "bare.pth")
    with pytest.raises(ValueError, match=r"takes 1 channel\(s\), but mean=\(123.675"):
        mmdino.load_backbone(tmp_path / "bare.pth", num_heads=2)


def test_what_the_package_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mmdino' has no attribute 'pretrian'"):
        mmdino.pretrian  # noqa: B018

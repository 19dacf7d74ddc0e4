"""Features of a folder are those of the validation in training, interrupted or not."""

from __future__ import annotations

import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_run
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from script_process import ScriptProcess

from mmdino.evaluation.bank_extraction import load_evaluated, make_bank, network_sha256
from mmdino.evaluation.bank_images import evaluation_pipeline, labelled_images
from mmdino.evaluation.extraction_options import ExtractionOptions
from mmdino.evaluation.feature_bank import PART_SIZE, open_bank

CONFIGS = Path(__file__).parents[2] / "configs"
DEFAULT_SHA256 = "f523b2e5dc44c7a7cd063e0ee10068641398a5208c6f29457172b4fc957e95fd"
SIZES = {"size": 40, "crop": 32, "workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of five images, no two of one shape."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("ant", "bee", "cow"):
        (root / name).mkdir()
        for index in range(5):
            image = rng.integers(256, size=(30 + 7 * index, 60 - 5 * index, 3), dtype=np.uint8)
            assert cv2.imwrite(str(root / name / f"{index}.png"), image)
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The state of a DINO whose student and teacher differ."""
    torch.manual_seed(0)
    model = MODELS.build(tiny_run.vit_model())
    for parameter in model.teacher.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.05)
    path = tmp_path_factory.mktemp("run") / "epoch_1.pth"
    torch.save({"state_dict": model.state_dict()}, path)
    return path


def bank_of(
    checkpoint, folder, bank, network="teacher", untrained=None, part_size=PART_SIZE, **options
):
    """Makes a bank with the tiny network."""
    evaluated = load_evaluated(checkpoint, network, num_heads=2, untrained=untrained)
    options = ExtractionOptions(**{**SIZES, **options})
    images = labelled_images(folder, options)
    return make_bank(evaluated, images, bank, options, part_size=part_size)


def test_features_and_labels_are_those_of_the_validation_in_training(tmp_path, folder, checkpoint):
    dataset = {
        "type": "mmdino.ImageFolder",
        "data_root": str(folder),
        "with_label": True,
        "test_mode": True,
        "pipeline": evaluation_pipeline(ExtractionOptions(**SIZES)),
    }
    validation = tiny_run.validation()
    validation["val_dataloader"] = tiny_run.loader(dataset)
    validation["val_cfg"]["bank_dataloader"] = tiny_run.loader(dataset)
    model = tiny_run.vit_model(data_preprocessor={})
    runner = tiny_run.build(tmp_path, model=model, load_from=str(checkpoint), **validation)
    runner.load_or_resume()
    runner.model.eval()
    features, labels = runner.val_loop.fill_bank()
    bank = bank_of(checkpoint, folder, tmp_path / "bank")
    np.testing.assert_allclose(bank[:], features, rtol=0, atol=1e-6)
    assert features.std(0).min() > 1e-3
    assert bank.labels.tolist() == labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert bank.classes == ["ant", "bee", "cow"]


def test_pipeline_is_that_of_the_imagenet_config():
    config = Config.fromfile(CONFIGS / "_base_/datasets/imagenet.py")
    assert evaluation_pipeline(ExtractionOptions()) == config.val_dataloader.dataset.pipeline


def test_networks_have_features_of_their_own(tmp_path, folder, checkpoint):
    teacher = bank_of(checkpoint, folder, tmp_path / "teacher")
    student = bank_of(checkpoint, folder, tmp_path / "student", "student")
    assert (teacher.plan["network"], student.plan["network"]) == ("teacher", "student")
    assert not np.allclose(teacher[:], student[:], atol=1e-3)
    fresh = bank_of(checkpoint, folder, tmp_path / "fresh", untrained=3)
    assert fresh.plan["network"] == "untrained (seed 3)"
    assert not np.allclose(teacher[:], fresh[:], atol=1e-3)


def test_workers_make_no_difference(tmp_path, folder, checkpoint):
    alone = bank_of(checkpoint, folder, tmp_path / "alone", batch_size=2)
    helped = bank_of(checkpoint, folder, tmp_path / "helped", batch_size=2, workers=2)
    np.testing.assert_array_equal(alone[:], helped[:])


def test_mixed_precision_is_close(tmp_path, folder, checkpoint):
    plain = bank_of(checkpoint, folder, tmp_path / "plain")
    mixed = bank_of(checkpoint, folder, tmp_path / "mixed", amp=True)
    assert not np.array_equal(plain[:], mixed[:])
    np.testing.assert_allclose(plain[:], mixed[:], atol=0.1)


def test_killed_in_the_middle_of_a_part_it_goes_on_and_equals_an_uninterrupted_run(
    tmp_path, folder, checkpoint, capsys
):
    killed = ScriptProcess("bank_killed.py", checkpoint, folder, tmp_path / "bank").wait()
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with pytest.raises(ValueError, match=r"bank is not finished\. The same command resumes it"):
        open_bank(tmp_path / "bank")
    options = {"batch_size": 3, "part_size": 4}
    resumed = bank_of(checkpoint, folder, tmp_path / "bank", **options)
    assert "computing the features of 7 images; 8 are there" in capsys.readouterr().out
    whole = bank_of(checkpoint, folder, tmp_path / "whole", **options)
    np.testing.assert_array_equal(resumed[:], whole[:])
    np.testing.assert_array_equal(resumed.labels, whole.labels)
    names = [sorted(p.name for p in (tmp_path / name).iterdir()) for name in ("bank", "whole")]
    assert names[0] == names[1] == ["bank.json", "features.npy", "images.txt", "labels.npy"]


def test_an_unfinished_bank_does_not_take_features_of_another_network_or_image(
    tmp_path, folder, checkpoint, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr("mmdino.evaluation.bank_extraction.BankWriter.finish", lambda *_: None)
        bank_of(checkpoint, folder, tmp_path / "bank")
    with pytest.raises(ValueError, match=r"network_sha256 is .*network is 'teacher' there, 'stud"):
        bank_of(checkpoint, folder, tmp_path / "bank", "student")
    with pytest.raises(ValueError, match=r"files_sha256 .*images is 15 there, 8 now"):
        bank_of(checkpoint, folder, tmp_path / "bank", every=2)


def test_the_hash_of_a_network_knows_what_no_tensor_shows():
    vit = {"type": "mmdino.VisionTransformer", "arch": tiny_run.ARCH, "img_size": 32}

    def hash_of(**options):
        backbone = MODELS.build({**vit, "patch_size": 8, **options})
        for parameter in backbone.parameters():
            parameter.data.fill_(0.5)
        return network_sha256(backbone)

    # As it was before these options entered it, so that older banks are found.
    assert hash_of() == DEFAULT_SHA256
    others = ({"ffn": "mlp_quick_gelu"}, {"interpolate_mode": "bilinear"}, {"pos_embed_offset": 0})
    assert len({hash_of(), *(hash_of(**options) for options in others)}) == 4


def test_unreadable_images_are_named(tmp_path, folder, checkpoint):
    (tmp_path / "images" / "ant").mkdir(parents=True)
    (tmp_path / "images" / "ant" / "broken.png").write_bytes(b"no image")
    for workers in (0, 1):
        with pytest.raises(ValueError, match=r"None of the 1 image.*: .*ant/broken\.png"):
            bank_of(checkpoint, tmp_path / "images", tmp_path / "bank", workers=workers)


def test_classes_without_images_are_named(tmp_path, folder):
    (tmp_path / "ant").mkdir()
    (tmp_path / "bee").mkdir()
    (tmp_path / "bee" / "1.png").write_bytes((folder / "bee" / "1.png").read_bytes())
    with pytest.raises(ValueError, match="contain no image: ant"):
        labelled_images(tmp_path, ExtractionOptions(**SIZES))
    with pytest.raises(ValueError, match=r"2 of 3 classes .* have no image: bee, cow.*--every"):
        labelled_images(folder, ExtractionOptions(**SIZES, every=15))


def test_sizes_that_do_not_fit_are_refused(tmp_path, folder, checkpoint):
    with pytest.raises(ValueError, match=r"crop of 224 pixels .* at most the size of 32"):
        ExtractionOptions(size=32, crop=224)
    for crop in (30, 4):
        with pytest.raises(ValueError, match=f"cropped to {crop} pixels, .* patch of 8"):
            bank_of(checkpoint, folder, tmp_path / "bank", crop=crop)


def test_networks_of_other_channels_are_refused(tmp_path, folder):
    backbone = tiny_run.vit_model()["backbone"] | {"in_channels": 1}
    torch.save(MODELS.build(backbone).state_dict(), tmp_path / "grey.pth")
    with pytest.raises(ValueError, match=r"takes images of 1 channel\(s\)"):
        bank_of(tmp_path / "grey.pth", folder, tmp_path / "bank")


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"workers": -1}])
def test_batch_sizes_and_workers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="batch size of at least 1 and 0 or more workers"):
        ExtractionOptions(**options)

"""The command line measures networks side by side, and continues where it stopped."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import tiny_distillation
import torch
from mmengine.registry import MODELS
from tiny_vit import OWN, picture, save_checkpoint, save_resnet

from mmdino.visualization.media import write_image

TOOL = Path(__file__).parents[2] / "tools" / "diagnose.py"
main = runpy.run_path(str(TOOL))["main"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint, a folder of six images of several shapes, and what a run wrote on them."""
    root = tmp_path_factory.mktemp("diagnose")
    save_checkpoint(root / "vit.pth")
    (root / "images").mkdir()
    for index in range(6):
        write_image(root / "images" / f"{index}.png", picture(index, 40 + 5 * index, 56))
    run(root)
    return root


def run(root, *options, checkpoints=("vit.pth",)):
    paths = [str(root / name) for name in checkpoints]
    fixed = ["--out", root / "out", "--num-heads", 2, "--size", 24, 40, "--untrained", 3]
    main([*paths, *map(str, [root / "images", *fixed, *options])])


def record(root):
    return json.loads((root / "out" / "diagnose.json").read_text())


def test_numbers_of_every_network_layer_and_head(files):
    found = record(files)
    assert list(found["networks"]) == ["vit", "untrained, seed 3"]
    vit, untrained = (network["attention"] for network in found["networks"].values())
    assert vit["grid"] == [3, 5]
    for name in ("distance", "similarity", "similarity_whole_map", "mutual_information"):
        assert np.shape(vit[name]) == (2, 2)
    # An untrained network attends almost evenly, so its heads are alike.
    assert np.allclose(untrained["distance"], untrained["uniform_distance"], rtol=1e-2)
    assert np.min(untrained["similarity"]) > 0.99 > np.max(vit["similarity"])
    (pair,) = found["cka"]
    assert (pair["first"], pair["second"]) == ("vit", "untrained, seed 3")
    assert np.shape(pair["cka"]) == (2, 2)
    assert {path.name for path in (files / "out").iterdir()} == {
        *("diagnose.json", "maps", "heads.png", "average_maps.png", "cka.png")
    }
    with np.load(files / "out" / found["networks"]["vit"]["maps"]) as maps:
        assert maps["average_map"].shape == (2, 16, 16)
        assert maps["average_patch_map"].shape == (2, 15, 15)


def test_what_is_there_is_skipped_until_weights_or_images_change(files, capsys):
    before = record(files)
    run(files)
    assert capsys.readouterr().out.count("measured before, skipped") == 3
    assert record(files) == before
    save_resnet(files / "resnet.pth")
    content = torch.load(files / "vit.pth", weights_only=False)
    content["state_dict"] = {n: 1.5 * t for n, t in content["state_dict"].items()}
    torch.save(content, files / "other.pth")
    capsys.readouterr()
    run(files, checkpoints=("vit.pth", "other.pth"))
    output = capsys.readouterr().out
    assert "vit: attention was measured before, skipped" in output
    assert "other: attention of 6 image(s)" in output
    assert "vit, untrained, seed 3: CKA was measured before, skipped" in output
    assert len(record(files)["cka"]) == 3
    run(files, "--images", 5)
    assert "skipped" not in capsys.readouterr().out
    assert record(files)["networks"]["vit"]["images"] == 5


def test_images_are_normalised_as_in_the_run_of_each_network(files, tmp_path, capsys):
    """The same weights with ImageNet's statistics and with their own, one after the other too."""
    out = ("--out", tmp_path / "out", "--images", 4)
    save_checkpoint(files / "own.pth", OWN)
    run(files, *out, checkpoints=("vit.pth", "own.pth"))
    found = json.loads((tmp_path / "out" / "diagnose.json").read_text())
    vit, own = (found["networks"][name]["attention"]["distance"] for name in ("vit", "own"))
    assert np.abs(np.subtract(vit, own)).max() > 1e-3
    both = next(each for each in found["cka"] if (each["first"], each["second"]) == ("vit", "own"))
    assert both["cka"][0][0] < 0.9999
    capsys.readouterr()
    run(files, *out, "--names", "vit", checkpoints=("own.pth",))
    assert "vit: attention of 4 image(s)" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "diagnose.json").read_text())
    assert found["networks"]["vit"]["attention"]["distance"] == own


def test_a_distilled_student_beside_its_teacher(files):
    """Patches of another size, 4 pixels and not 8, and attention by a table of offsets."""
    torch.manual_seed(0)
    model = MODELS.build(tiny_distillation.model("teacher.pth"))
    model.backbone.position_encoding.table.data.normal_()
    torch.save({"state_dict": model.state_dict(), "meta": {}}, files / "student.pth")
    run(files, "--no-cka", checkpoints=("vit.pth", "student.pth"))
    found = record(files)["networks"]["student"]
    assert found["attention"]["grid"] == [6, 10]
    assert np.min(found["attention"]["relative_fraction"]) > 0.5
    assert np.min(found["attention"]["mutual_information"]) > 0.01


def test_fewer_than_four_images_have_no_cka(files, capsys):
    run(files, "--images", 1, "--out", files / "one", "--format", "svg")
    assert "CKA is left out: it needs at least 4 images" in capsys.readouterr().out
    assert not (files / "one" / "cka.svg").exists()


def test_a_network_without_attention_is_refused(files):
    save_resnet(files / "resnet.pth")
    with pytest.raises(ValueError, match=r"resnet\.pth: A ResNet has no attention to show"):
        run(files, checkpoints=("vit.pth", "resnet.pth"))

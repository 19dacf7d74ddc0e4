"""The command line segments videos in the layout of DAVIS 2017."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tiny_evaluations
import tiny_tools
from PIL import Image
from tiny_vit import HEADS, save_checkpoint, save_resnet

from mmdino.evaluation import label_propagation
from mmdino.visualization.media import read_frames

OPTIONS = ("--size", 48)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with videos and a checkpoint."""
    root = tmp_path_factory.mktemp("davis")
    save_checkpoint(root / "vit.pth")
    return tiny_evaluations.write_davis(root)


@pytest.fixture(scope="module")
def done(root):
    """The results of a run that drew overlays too."""
    out = root / "done"
    return out, run(out, root / "vit.pth", root, *HEADS, "--overlay", "gif")


def run(out, checkpoint, root, *arguments):
    """Evaluates and returns the results."""
    command = [checkpoint, root, "--out", out, *OPTIONS, *arguments]
    tiny_tools.main_of("eval_video.py")([*map(str, command)])
    return json.loads((out / "results.json").read_text())


def test_masks_scores_and_overlays_are_written(root, done):
    out, results = done
    for name, frames in (("bear", 6), ("goat", 5)):
        masks = sorted((out / "masks" / name).iterdir())
        assert [path.name for path in masks] == [f"{step:05}.png" for step in range(frames)]
        first = Image.open(masks[0])
        truth = Image.open(root / "Annotations" / "480p" / name / "00000.png")
        assert first.mode == "P"
        assert first.getpalette() == truth.getpalette()
        np.testing.assert_array_equal(first, truth)
        overlay = list(read_frames(out / "overlays" / f"{name}.gif"))
        assert len(overlay) == frames
        assert overlay[0].shape == (48, 70, 3)
    assert results["videos"]["goat"] == {}, "it has no masks to compare with"
    objects = results["videos"]["bear"]
    assert objects.keys() == {"1", "2"}
    for measure in ("J", "F"):
        mean = np.mean([objects[number][measure]["mean"] for number in objects])
        assert results[measure]["mean"] == pytest.approx(mean)
    assert results["J&F"] == pytest.approx((results["J"]["mean"] + results["F"]["mean"]) / 2)
    assert results["J"]["mean"] > 30


def test_a_run_goes_on_where_it_was_interrupted(tmp_path, root, done, monkeypatch, capsys):
    segment_video, segmented = label_propagation.segment_video, []

    def interrupted(backbone, frames, labels, options):
        segmented.append(labels)
        if len(segmented) == 2:
            raise KeyboardInterrupt
        return segment_video(backbone, frames, labels, options)

    monkeypatch.setattr(label_propagation, "segment_video", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, root / "vit.pth", root, *HEADS)
    assert run(tmp_path, root / "vit.pth", root, *HEADS) == done[1]
    assert len(segmented) == 3, "the first video was not segmented again"
    assert "[1/2] bear: done before, J" in capsys.readouterr().out


def test_results_of_other_options_are_not_mixed(root, done):
    out, _ = done
    arguments = (out, root / "vit.pth", root, *HEADS, "--topk", 3)
    with pytest.raises(ValueError, match="results of other settings or images: topk differ"):
        run(*arguments)
    with pytest.raises(ValueError, match="network, network_sha256 differ"):
        run(*arguments[:-2], "--untrained")


@pytest.fixture
def copied(tmp_path, root, done):
    """A copy of the data set and of the results, to be changed."""
    for kind in ("ImageSets", "JPEGImages", "Annotations"):
        shutil.copytree(root / kind, tmp_path / "data" / kind)
    shutil.copytree(done[0], tmp_path / "out")
    return tmp_path / "out", root / "vit.pth", tmp_path / "data", *HEADS, "--videos", "bear"


def move_objects(mask):
    """Moves the objects of a mask to the right."""
    image = Image.open(mask)
    moved = Image.fromarray(np.roll(np.asarray(image), 20, axis=1))
    moved.putpalette(image.getpalette())
    moved.save(mask)


def test_the_same_files_in_another_folder_are_not_segmented_again(copied, done, capsys):
    assert run(*copied)["videos"] == {"bear": done[1]["videos"]["bear"]}
    assert "bear: done before" in capsys.readouterr().out


@pytest.mark.parametrize("changed", ["frames", "first_mask"])
def test_results_of_other_images_are_not_mixed(copied, changed):
    root = copied[2]
    if changed == "frames":
        frame = root / "JPEGImages" / "480p" / "bear" / "00003.jpg"
        Image.open(frame).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(frame)
    else:
        move_objects(root / "Annotations" / "480p" / "bear" / "00000.png")
    with pytest.raises(ValueError, match=rf"or images: {changed}_sha256 differ.*--overwrite"):
        run(*copied)
    run(*copied, "--overwrite")


def test_results_of_another_resolution_are_not_mixed(copied):
    root = copied[2]
    for kind in ("JPEGImages", "Annotations"):
        for path in sorted((root / kind / "480p" / "bear").iterdir()):
            other = root / kind / "Full" / "bear" / path.name
            other.parent.mkdir(parents=True, exist_ok=True)
            image = Image.open(path)
            image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST).save(other)
    with pytest.raises(ValueError, match="frames_sha256, first_mask_sha256 differ"):
        run(*copied, "--resolution", "Full")


def test_corrected_masks_are_compared_with_anew(copied, done, capsys, monkeypatch):
    monkeypatch.setattr(label_propagation, "segment_video", None)
    for step in range(1, 5):
        move_objects(copied[2] / "Annotations" / "480p" / "bear" / f"{step:05}.png")
    scores = run(*copied)["videos"]["bear"]
    assert "bear: segmented before, compared with other masks now, J" in capsys.readouterr().out
    assert scores["1"]["J"]["mean"] < done[1]["videos"]["bear"]["1"]["J"]["mean"] / 2
    assert run(*copied)["videos"]["bear"] == scores
    assert "bear: done before" in capsys.readouterr().out


def test_a_damaged_record_is_named(tmp_path, root):
    record = tmp_path / "videos" / "bear.json"
    record.parent.mkdir()
    for text, named in (("{", "is damaged"), ("[]", "has no settings and objects")):
        record.write_text(text)
        with pytest.raises(ValueError, match=rf"bear\.json {named}.*--overwrite"):
            run(tmp_path, root / "vit.pth", root, *HEADS)


def test_without_masks_beyond_the_first_nothing_is_scored(tmp_path, root, capsys):
    checkpoint = save_resnet(tmp_path / "resnet.pth")
    results = run(tmp_path, checkpoint, root, "--videos", "goat")
    assert "J" not in results
    assert "nothing is scored" in capsys.readouterr().out
    assert len(list((tmp_path / "masks" / "goat").iterdir())) == 5

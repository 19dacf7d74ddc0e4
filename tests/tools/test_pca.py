"""The command line colours images, folders and videos with one PCA, and explains errors."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import tiny_weights
import torch
from PIL import Image
from tiny_vit import HEADS, OWN, picture, save_checkpoint, save_resnet

from mmdino.evaluation.image_input import IMAGENET
from mmdino.evaluation.pca import fit_pca, load_map_backbone, patch_map
from mmdino.visualization.media import read_frames, write_animation
from mmdino.visualization.pca_figure import color_picture
from mmdino.weights.layouts import authors_vit

TOOL = Path(__file__).parents[2] / "tools" / "pca.py"
main = runpy.run_path(str(TOOL))["main"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("run") / "epoch_1.pth")


def halves(height=48, width=64, dark=0):
    """An image that is dark on one half, the left one by default, and bright on the other."""
    image = np.full((height, width, 3), 230, np.uint8)
    image[:, dark * width // 2 : (dark + 1) * width // 2] = 10
    return image


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of two images, dark on the left and on the right."""
    folder = tmp_path_factory.mktemp("images")
    for index in range(2):
        Image.fromarray(halves(dark=index)).save(folder / f"half{index}.png")
    return folder


def run(checkpoint, *arguments):
    main([str(checkpoint), *map(str, arguments), *HEADS])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def colors_of_halves(shown):
    """Mean colour of the left and of the right half."""
    return [half.reshape(-1, 3).mean(0) for half in np.split(shown.astype(float), 2, axis=1)]


def test_two_colours_separate_and_are_the_same_in_all_images(tmp_path, checkpoint, images, capsys):
    run(checkpoint, images, "--out", tmp_path)
    assert names(tmp_path) == ["half0_pca.png", "half1_pca.png"]
    first, second = (pixels(tmp_path / name) for name in names(tmp_path))
    assert first.shape == (240, 320, 3)
    (dark, bright), (other_bright, other_dark) = map(colors_of_halves, (first, second))
    assert abs(dark - bright).max() > 60
    assert abs(dark - other_dark).max() < abs(dark - other_bright).max() / 2
    assert abs(bright - other_bright).max() < abs(bright - other_dark).max() / 2
    output = capsys.readouterr().out
    assert "64 x 48 px enter the network as 64 x 48 px, 8 x 6 patches of 8 px" in output
    assert "PCA: 96 patches of 2 of 2 image(s)" in output
    assert f"Wrote 2 file(s) to {tmp_path}." in output


def test_images_are_normalised_as_in_the_run(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "disc.png")
    path = save_checkpoint(tmp_path / "own.pth", OWN)
    run(path, tmp_path / "disc.png", "--out", tmp_path / "out")
    backbone, statistics = load_map_backbone(path, num_heads=2)
    assert statistics == OWN
    shown = []
    for given in (OWN, IMAGENET):
        features = patch_map(backbone, picture(), statistics=given)
        shown.append(color_picture(fit_pca([features]).colors(features), (240, 336), "nearest"))
    np.testing.assert_array_equal(pixels(tmp_path / "out" / "disc_pca.png"), shown[0])
    assert not np.array_equal(*shown)


def test_the_result_is_always_the_same(tmp_path, checkpoint, images):
    for name in ("a", "b"):
        run(checkpoint, images, "--out", tmp_path / name, "--figure", tmp_path / f"{name}.png")
    for name in names(tmp_path / "a"):
        np.testing.assert_array_equal(pixels(tmp_path / "a" / name), pixels(tmp_path / "b" / name))
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_a_video_keeps_its_colours_from_frame_to_frame(tmp_path, checkpoint, capsys):
    video = tmp_path / "still.mp4"
    write_animation(video, [halves()] * 7, 12)
    run(checkpoint, video, "--out", tmp_path / "out", "--fit", 2)
    assert names(tmp_path / "out") == ["still_pca.mp4"]
    frames = list(read_frames(tmp_path / "out" / "still_pca.mp4"))
    assert len(frames) == 7
    first, *others = (np.split(frame, 2, axis=1)[1].astype(int) for frame in frames)
    dark, bright = colors_of_halves(first)
    assert abs(dark - bright).max() > 60
    # Compression alone differs.
    assert all(abs(first - other).mean() < 6 for other in others)
    assert "96 patches of 2 of 7 image(s)" in capsys.readouterr().out


def test_a_folder_can_be_animated_and_a_video_taken_apart(tmp_path, checkpoint, images):
    run(checkpoint, images, "--out", tmp_path / "gif", "--format", "gif", "--fps", 5, "--untrained")
    stem = f"{images.name}_pca"
    assert names(tmp_path / "gif") == [f"{stem}.gif", f"{stem}_untrained.gif"]
    assert len(list(read_frames(tmp_path / "gif" / f"{stem}.gif"))) == 2
    video = tmp_path / "v.mp4"
    write_animation(video, [halves()] * 4, 12)
    run(checkpoint, video, "--out", tmp_path / "png", "--format", "png", "--every", 2)
    assert names(tmp_path / "png") == ["v_000000_pca.png", "v_000002_pca.png"]


def test_one_figure_of_images_of_any_shape(tmp_path, checkpoint, images, capsys):
    Image.fromarray(picture(0, 30, 100)).save(tmp_path / "wide.png")
    arguments = (images / "half0.png", tmp_path / "wide.png")
    run(checkpoint, *arguments, "--figure", tmp_path / "pca.jpg", "--size", 24, "--smooth")
    assert "100 x 30 px enter the network as 80 x 24 px, 10 x 3 patches" in capsys.readouterr().out
    alone = pixels(tmp_path / "pca.jpg")
    run(checkpoint, *arguments, "--figure", tmp_path / "both.jpg", "--size", 24, "--untrained")
    assert pixels(tmp_path / "both.jpg").shape[0] > 1.2 * alone.shape[0]


def test_the_background_is_black(tmp_path, checkpoint, images):
    sides = {}
    for side in ("positive", "negative"):
        run(checkpoint, images, "--out", tmp_path / side, "--foreground", side)
        sides[side] = (pixels(tmp_path / side / "half0_pca.png") == 0).all(-1)
    assert sides["positive"].any()
    # A patch of the foreground may be black too.
    assert (sides["positive"] | sides["negative"]).all()
    assert not (sides["positive"] & sides["negative"]).mean() > 0.2


@pytest.mark.parametrize("kind", ["dinov2_registers", "dinov3"])
def test_the_authors_files_are_read(tmp_path, images, kind):
    vit = tiny_weights.vit(**{**tiny_weights.DINOV2, **tiny_weights.DINOV3}[kind])
    torch.save(authors_vit.from_mmdino(vit.state_dict()), tmp_path / "w.pth")
    run(tmp_path / "w.pth", images / "half0.png", "--out", tmp_path / "out")
    assert names(tmp_path / "out") == ["half0_pca.png"]


def test_a_resnet_shows_its_last_map(tmp_path, capsys):
    Image.fromarray(picture(0, 100, 140)).save(tmp_path / "a.png")
    run(save_resnet(tmp_path / "r.pth"), tmp_path / "a.png", "--out", tmp_path / "out")
    assert "128 x 96 px, 4 x 3 patches of 32 px" in capsys.readouterr().out

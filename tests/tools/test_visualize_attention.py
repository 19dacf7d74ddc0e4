"""The command line shows the attention of images, folders and videos, and explains errors."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from script_process import run_script
from tiny_vit import HEADS, OWN, picture, save_checkpoint, save_resnet

from mmdino.evaluation.attention import attention_maps
from mmdino.visualization.media import read_frames, read_image, write_animation
from mmdino.weights.networks import load_backbone

TOOL = Path(__file__).parents[2] / "tools" / "visualize_attention.py"
main = runpy.run_path(str(TOOL))["main"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_checkpoint(tmp_path_factory.mktemp("run") / "epoch_1.pth")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of four images of one size."""
    folder = tmp_path_factory.mktemp("images")
    for index in range(4):
        Image.fromarray(picture(index)).save(folder / f"cat{index}.png")
    return folder


def run(checkpoint, *arguments):
    main([str(checkpoint), *map(str, arguments), *HEADS])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_an_image_gives_a_figure_and_the_numbers(tmp_path, checkpoint, images, capsys):
    run(checkpoint, images / "cat0.png", "--out", tmp_path, "--maps")
    assert names(tmp_path) == ["cat0_attention.npz", "cat0_attention.png"]
    backbone = load_backbone(checkpoint, num_heads=2)
    expected = attention_maps(backbone, read_image(images / "cat0.png"))
    found = np.load(tmp_path / "cat0_attention.npz")["attention"]
    assert found.shape == (2, 5, 7)
    np.testing.assert_allclose(found, expected)
    assert pixels(tmp_path / "cat0_attention.png").std() > 20
    assert f"Wrote 1 figure(s) to {tmp_path}." in capsys.readouterr().out


def test_images_are_normalised_as_in_the_run(tmp_path, images):
    path = save_checkpoint(tmp_path / "own.pth", OWN)
    run(path, images / "cat0.png", "--out", tmp_path / "out", "--maps")
    backbone, image = load_backbone(path, num_heads=2), read_image(images / "cat0.png")
    found = np.load(tmp_path / "out" / "cat0_attention.npz")["attention"]
    np.testing.assert_allclose(found, attention_maps(backbone, image, statistics=OWN))
    assert abs(found - attention_maps(backbone, image).numpy()).max() > 1e-3


@pytest.mark.parametrize(("size", "shape"), [(16, (2, 3)), (64, (8, 11))])
def test_size_is_the_shorter_side(tmp_path, checkpoint, images, size, shape):
    run(checkpoint, images / "cat0.png", "--out", tmp_path, "--maps", "--size", size)
    assert np.load(tmp_path / "cat0_attention.npz")["attention"].shape == (2, *shape)


def test_student_and_untrained_network_have_other_attention(tmp_path, checkpoint, images):
    image = images / "cat0.png"
    run(checkpoint, image, "--out", tmp_path / "teacher", "--maps", "--untrained", 3)
    run(checkpoint, image, "--out", tmp_path / "student", "--maps", "--network", "student")
    maps = [
        np.load(path)["attention"]
        for path in (
            tmp_path / "teacher" / "cat0_attention.npz",
            tmp_path / "teacher" / "cat0_attention_untrained.npz",
            tmp_path / "student" / "cat0_attention.npz",
        )
    ]
    assert abs(maps[0] - maps[1]).max() > 1e-3
    assert abs(maps[0] - maps[2]).max() > 1e-3
    assert (tmp_path / "teacher" / "cat0_attention_untrained.png").is_file()


def test_a_folder_gives_one_figure_per_image(tmp_path, checkpoint, images):
    run(checkpoint, images, "--out", tmp_path, "--every", 2, "--heads", 1, "--smooth")
    assert names(tmp_path) == ["cat0_attention.png", "cat2_attention.png"]
    first, second = (pixels(tmp_path / name) for name in names(tmp_path))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_a_folder_gives_an_animation(tmp_path, checkpoint, images, suffix):
    run(checkpoint, images, "--out", tmp_path, "--format", suffix, "--fps", 5)
    (path,) = tmp_path.iterdir()
    assert path.name == f"{images.name}_attention.{suffix}"
    frames = list(read_frames(path))
    assert len(frames) == 4
    assert frames[0].shape == (240, 2 * 336, 3)
    left, right = frames[0][:, :336], frames[0][:, 336:]
    assert abs(left[::6, ::6].astype(int) - picture(0)).mean() < 16
    assert left.std() > 20
    assert right.std() > 10


def test_a_video_gives_figures_or_a_video(tmp_path, checkpoint):
    video = tmp_path / "ball.mp4"
    write_animation(video, [picture(index, 64, 96) for index in range(6)], 12)
    run(checkpoint, video, "--out", tmp_path / "png", "--every", 3)
    assert names(tmp_path / "png") == ["ball_000000_attention.png", "ball_000003_attention.png"]
    options = ("--format", "mp4", "--maps", "--untrained")
    run(checkpoint, video, "--out", tmp_path / "mp4", *options)
    assert names(tmp_path / "mp4") == [
        "ball_attention.mp4",
        "ball_attention.npz",
        "ball_attention_untrained.mp4",
        "ball_attention_untrained.npz",
    ]
    frames = list(read_frames(tmp_path / "mp4" / "ball_attention.mp4"))
    assert [frame.shape for frame in frames] == [(256, 2 * 384, 3)] * 6
    maps = np.load(tmp_path / "mp4" / "ball_attention.npz")["attention"]
    assert maps.shape == (6, 8, 12)


def test_several_inputs_in_one_figure(tmp_path, checkpoint, images):
    path = tmp_path / "figures" / "attention.png"
    inputs = (images / "cat0.png", images / "cat3.png")
    run(checkpoint, *inputs, "--figure", path)
    alone = pixels(path)
    run(checkpoint, *inputs, "--figure", path, "--untrained")
    assert names(path.parent) == ["attention.png"]
    assert pixels(path).shape[1] > 1.5 * alone.shape[1]


def test_a_figure_of_another_format_is_refused_before_anything_is_read(tmp_path, images):
    with pytest.raises(ValueError, match=r"cat\.jpeg: its suffix must be one of"):
        run(tmp_path / "none.pth", images, "--figure", tmp_path / "cat.jpeg")


def test_a_figure_of_many_images_shows_the_first(tmp_path, checkpoint, images, monkeypatch, capsys):
    monkeypatch.setitem(main.__globals__, "MAX_IN_GRID", 2)
    run(checkpoint, images, "--figure", tmp_path / "capped.png")
    assert "shows the first 2 images; --every N" in capsys.readouterr().out
    two = [images / "cat0.png", images / "cat1.png"]
    run(checkpoint, *two, "--figure", tmp_path / "two.png")
    assert "shows the first" not in capsys.readouterr().out
    np.testing.assert_array_equal(pixels(tmp_path / "capped.png"), pixels(tmp_path / "two.png"))


def test_images_of_one_name_do_not_overwrite_each_other(tmp_path, checkpoint):
    folder = tmp_path / "in"
    folder.mkdir()
    for suffix in ("png", "bmp"):
        Image.fromarray(picture()).save(folder / f"cat.{suffix}")
    run(checkpoint, folder, "--out", tmp_path / "out")
    assert names(tmp_path / "out") == ["cat.bmp_attention.png", "cat.png_attention.png"]
    with pytest.raises(
        ValueError, match=r"Two inputs have the same name.*cat_attention\.png.*its own --out"
    ):
        run(checkpoint, folder / "cat.png", folder / "cat.bmp", "--out", tmp_path / "out")
    with pytest.raises(ValueError, match=r"Two inputs have the same name.*in_attention\.gif"):
        run(checkpoint, folder, folder, "--out", tmp_path / "out", "--format", "gif")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["none.png", "--out", "o"], FileNotFoundError, "input 'none.png' does not exist"),
        (["empty", "--out", "o"], FileNotFoundError, "folder 'empty' has no image"),
        (["bad.png", "--out", "o"], ValueError, r"bad\.png cannot be read as an image"),
        (["small.png", "--out", "o"], ValueError, "small: The image of 5 x 6 .* of 5, less than"),
        (["cat.png", "--out", "o", "--size", "0"], ValueError, "cat: .* shorter side of 0"),
        (["cat.png", "--out", "o", "--size", "4"], ValueError, "cat: .* shorter side of 4"),
        (["cat.png", "--out", "o", "--fraction", "60"], ValueError, "fraction=60"),
        (["cat.png", "--out", "o", "--heads", "2"], ValueError, "no head 2: the network has 2"),
        (["cat.png", "--out", "o", "--format", "gif"], ValueError, "one image, and an animation"),
        (["mixed", "--out", "o", "--format", "gif"], ValueError, "b has another shape"),
        (["cat.png", "--figure", "a.bmp"], ValueError, "suffix must be one of"),
    ],
)
def test_wrong_input_is_explained_and_leaves_nothing(
    tmp_path, monkeypatch, checkpoint, arguments, error, message
):
    monkeypatch.chdir(tmp_path)
    for folder in ("empty", "mixed"):
        Path(folder).mkdir()
    Path("bad.png").write_bytes(b"no image")
    Image.fromarray(picture(0, 6, 5)).save("small.png")
    Image.fromarray(picture()).save("cat.png")
    Image.fromarray(picture()).save("mixed/a.png")
    Image.fromarray(picture(0, 64, 40)).save("mixed/b.png")
    with pytest.raises(error, match=message):
        run(checkpoint, *arguments)
    assert not Path("o").exists() or names(Path("o")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --out DIR for one file per image, or --figure FILE"),
        (["--out", "o", "--figure", "a.png"], "give --out DIR"),
        (["--figure", "a.png", "--format", "gif"], "omit --format and --maps"),
        (["--out", "o", "--every", "0"], "--every must be at least 1"),
        (["--figure", "cat.png"], "--figure cat.png would overwrite an input"),
        (["--out", "o", "--fps", "5"], "--fps is for an animation"),
        (["--out", "o", "--format", "mp4", "--fps", "inf"], "--fps must be within 0.01 and 1000"),
        (["--out", "o", "--format", "gif", "--fps", "nan"], "--fps must be within 0.01 and 1000"),
        (["--out", "o", "--format", "gif", "--fps", "0"], "--fps must be within 0.01 and 1000"),
    ],
)
def test_options_that_do_not_go_together_are_refused(checkpoint, capsys, arguments, message):
    with pytest.raises(SystemExit):
        run(checkpoint, "cat.png", *arguments)
    assert message in capsys.readouterr().err


def test_a_resnet_has_no_attention(tmp_path, images):
    path = save_resnet(tmp_path / "resnet.pth")
    with pytest.raises(ValueError, match="A ResNet has no attention to show"):
        run(path, images, "--out", tmp_path / "out")


def test_as_a_user_runs_it(tmp_path, checkpoint, images):
    command = [TOOL, checkpoint, images, "--out", tmp_path, *HEADS, "--every", 4, "--size", 32]
    assert "Wrote 1 figure(s)" in run_script(*command).stdout
    assert names(tmp_path) == ["cat0_attention.png"]

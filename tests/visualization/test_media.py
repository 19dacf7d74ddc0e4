"""Images are read as a viewer shows them, and animations are written atomically."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL import features as pillow_features

from mmdino.visualization import media
from mmdino.visualization.media import (
    is_video,
    list_images,
    read_frames,
    read_image,
    video_fps,
    write_animation,
)

RAMP = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40


def frames(count=5, height=32, width=48):
    """Returns grey frames of increasing brightness."""
    return [np.full((height, width, 3), 40 * index, np.uint8) for index in range(count)]


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_grey_becomes_colour(tmp_path):
    found = read_image(save(tmp_path / "grey.png", RAMP))
    np.testing.assert_array_equal(found, np.repeat(RAMP[..., None], 3, axis=2))
    assert found.dtype == np.uint8


def test_sixteen_bits_become_eight_by_their_full_range(tmp_path):
    path = save(tmp_path / "deep.png", RAMP.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(path)[..., 0], RAMP)


def test_transparent_pixels_become_white(tmp_path):
    image = np.zeros((1, 3, 4), np.uint8)
    image[0, :, 3] = (0, 255, 51)
    found = read_image(save(tmp_path / "see_through.png", image))
    assert found[0].tolist() == [[255] * 3, [0] * 3, [204] * 3]


def test_a_palette_is_looked_up(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([10, 20, 30, 200, 0, 100])
    image.save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").tolist() == [[[10, 20, 30], [200, 0, 100]]]


def test_photographs_are_turned_as_their_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was held upright: turn by a quarter to the right.
    path = save(tmp_path / "upright.png", np.repeat(RAMP[..., None], 3, axis=2), exif=exif)
    np.testing.assert_array_equal(read_image(path)[..., 0], np.rot90(RAMP, -1))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_each_orientation_is_that_of_viewers(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"turned{suffix}", RAMP, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(read_image(path)[..., 0], expected)


def test_a_photograph_with_a_strange_exif_entry_is_turned_too(tmp_path):
    """The maker, a text, is a fraction here, which Pillow reads and cannot write."""
    maker = struct.pack("<HHII", 0x010F, 5, 1, 38)
    orientation = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    entries = struct.pack("<H", 2) + maker + orientation + bytes(4)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entries + struct.pack("<II", 72, 1)
    path = save(tmp_path / "strange.png", RAMP, exif=exif)
    np.testing.assert_array_equal(read_image(path)[..., 0], np.rot90(RAMP, -1))


def test_damaged_exif_data_leaves_an_image_as_it_is(tmp_path):
    path = save(tmp_path / "damaged.png", RAMP, exif=b"Exif\0\0no TIFF header")
    np.testing.assert_array_equal(read_image(path)[..., 0], RAMP)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n truncated"])
def test_an_unreadable_file_is_named(tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
        read_image(tmp_path / "broken.png")


def test_a_photograph_that_ends_too_early_is_named(tmp_path):
    path = save(tmp_path / "cut.jpg", np.zeros((64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cut\.jpg cannot be read"):
        read_image(path)


@pytest.mark.skipif(not pillow_features.check("avif"), reason="Pillow has no AVIF")
def test_a_damaged_avif_is_named(tmp_path):
    path = save(tmp_path / "cut.avif", np.zeros((64, 64, 3), np.uint8))
    before, mark, pixels = path.read_bytes().partition(b"mdat")
    path.write_bytes(before + mark + bytes(len(pixels)))
    with pytest.raises(ValueError, match=r"cut\.avif cannot be read"):
        read_image(path)


def test_floating_point_images_are_refused(tmp_path):
    path = save(tmp_path / "depth.tiff", np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match=r"depth\.tiff has floating-point pixels"):
        read_image(path)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png' does not exist"):
        read_image(tmp_path / "none.png")


def test_frames_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("frame10.png", "frame2.png", "frame1.JPG", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == [
        "frame1.JPG",
        "frame2.png",
        "frame10.png",
    ]


def test_hidden_files_are_no_images(tmp_path):
    (tmp_path / "._photo.jpg").touch()
    with pytest.raises(FileNotFoundError, match="Hidden files are left out"):
        list_images(tmp_path)
    (tmp_path / "photo.jpg").touch()
    assert [path.name for path in list_images(tmp_path)] == ["photo.jpg"]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match="has no image with one of the suffixes"):
        list_images(tmp_path)


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_an_animation_is_read_as_it_was_written(tmp_path, suffix):
    path = tmp_path / "new" / f"run{suffix}"
    assert write_animation(path, iter(frames()), 10) == 5
    assert is_video(path)
    found = list(read_frames(path))
    assert [frame.shape for frame in found] == [(32, 48, 3)] * 5
    np.testing.assert_allclose([frame.mean() for frame in found], [0, 40, 80, 120, 160], atol=4)
    assert video_fps(path) == pytest.approx(10)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    np.testing.assert_array_equal(list(read_frames(path, every=2)), found[::2])


def test_gif_is_one_for_browsers(tmp_path):
    write_animation(tmp_path / "run.gif", frames(), 4)
    with Image.open(tmp_path / "run.gif") as image:
        assert (image.n_frames, image.info["duration"], image.info["loop"]) == (5, 250, 0)


def test_mp4_of_odd_sides_is_padded_to_even_ones(tmp_path):
    write_animation(tmp_path / "run.mp4", frames(2, 33, 47), 4)
    assert next(read_frames(tmp_path / "run.mp4")).shape == (34, 48, 3)


def test_nothing_is_left_of_an_animation_that_fails(tmp_path):
    path = tmp_path / "run.gif"
    with pytest.raises(ValueError, match="Frame 2 has 24 x 16 pixels, but the first one 48 x 32"):
        write_animation(path, [*frames(2), *frames(1, 16, 24)], 4)
    assert list(tmp_path.iterdir()) == []


def test_an_older_animation_survives_one_that_fails(tmp_path):
    path = tmp_path / "run.gif"
    write_animation(path, frames(3), 4)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="no frame to write"):
        write_animation(path, [], 4)
    assert path.read_bytes() == before


def test_opencv_without_the_codec_is_explained(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2.VideoWriter, "fourcc", lambda *letters: 0x7FFFFFFF)
    with pytest.raises(RuntimeError, match=r"cannot write MP4.*Write a GIF instead"):
        write_animation(tmp_path / "run.mp4", frames(), 4)
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_video_is_named(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"cannot read the video .*broken\.mp4"):
        list(read_frames(tmp_path / "broken.mp4"))
    with pytest.raises(FileNotFoundError, match=r"none\.mp4' does not exist"):
        list(read_frames(tmp_path / "none.mp4"))


def test_frames_are_counted_from_one(tmp_path):
    with pytest.raises(ValueError, match="invalid every=0"):
        next(read_frames(tmp_path / "run.mp4", every=0))


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e9])
def test_impossible_speeds_are_refused(tmp_path, fps):
    with pytest.raises(ValueError, match=f"invalid fps={fps} of .*at most 1000"):
        write_animation(tmp_path / "run.mp4", frames(), fps)


@pytest.mark.parametrize(
    "frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_frames_that_are_no_colour_images_are_refused(tmp_path, frame):
    with pytest.raises(ValueError, match=r"Frame 0 is .*: expected uint8 of shape \(H, W, 3\)"):
        write_animation(tmp_path / "run.gif", [frame], 8)


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
@pytest.mark.parametrize("fraction", [0, 0.02])
def test_videos_that_end_too_early_are_named(tmp_path, suffix, fraction):
    path = tmp_path / f"run{suffix}"
    write_animation(path, frames(), 8)
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    with pytest.raises(ValueError, match=rf"run{suffix}"):
        list(read_frames(path))


def test_a_video_of_enormous_frames_is_not_decoded(tmp_path, monkeypatch):
    write_animation(tmp_path / "run.gif", frames(), 8)
    monkeypatch.setattr(media, "MAX_PIXELS", 32 * 48 - 1)
    with pytest.raises(ValueError, match=r"run\.gif has frames of 48 x 32 pixels, more than 1535"):
        next(read_frames(tmp_path / "run.gif"))


def test_other_suffixes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"suffix must be \.gif or \.mp4"):
        write_animation(tmp_path / "run.webp", frames(), 4)

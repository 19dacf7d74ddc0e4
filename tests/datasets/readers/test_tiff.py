"""TIFFs with any number of bands."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from mmdino.datasets.readers import ReaderMismatchError, levels, read_tiff

tifffile = pytest.importorskip("tifffile", reason="needs tifffile (mmdino[geotiff])")


def image_of(bands, dtype=np.uint16):
    values = np.random.default_rng(bands).integers(200, size=(12, 10, bands))
    return values.astype(dtype)


def tiff(image, planar="contig", **options):
    """Content of a TIFF of an image (H, W, C), as GDAL writes it: in strips, or by bands."""
    file = io.BytesIO()
    if image.shape[2] == 1:
        image, planar = image[..., 0], None
    elif planar == "separate":
        image = np.moveaxis(image, -1, 0)
    options = {"photometric": "minisblack", "planarconfig": planar, **options}
    tifffile.imwrite(file, image, **options)
    return file.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("bands", range(1, 9))
def test_all_bands_in_their_order(bands, planar, dtype):
    image = image_of(bands, dtype)
    found = read_tiff(tiff(image, planar))
    np.testing.assert_array_equal(found, image)
    assert found.dtype == dtype


def test_byte_order_and_pages_as_bands():
    image = image_of(5)
    found = read_tiff(tiff(image, byteorder=">"))
    np.testing.assert_array_equal(found, image)
    assert found.dtype.isnative
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for band in range(5):
            writer.write(image[..., band], contiguous=True)
    np.testing.assert_array_equal(read_tiff(file.getvalue()), image)


def test_bands_and_range_of_values():
    image = image_of(13)
    image[0, 0], image[0, 1] = 0, 20000
    content = tiff(image, compression="zlib")
    np.testing.assert_array_equal(read_tiff(content, bands=[7, 0]), image[..., [7, 0]])
    found = read_tiff(content, value_range=(0, 10000))
    np.testing.assert_allclose(found / 65535, np.minimum(image / 10000, 1), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint32])
def test_other_types_need_a_range(dtype):
    image = image_of(2, dtype)
    with pytest.raises(ReaderMismatchError, match=rf"type {np.dtype(dtype)}.*Set value_range"):
        read_tiff(tiff(image))
    found = read_tiff(tiff(image), value_range=(-100, 300))
    np.testing.assert_allclose(found / 65535 * 400 - 100, image, atol=0.01)


def test_missing_pixels_are_black():
    image = image_of(1, np.float32)
    image[0, :3, 0] = np.nan, -9999, np.inf
    assert read_tiff(tiff(image), value_range=(0, 200))[0, :3, 0].tolist() == [0, 0, 65535]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": [4]}, r"bands=\[4\], but the image has 4: give numbers of 0 to 3"),
        ({"bands": [-1]}, "give numbers of 0 to 3"),
        ({"bands": []}, "give numbers of 0 to 3"),
        ({"value_range": (1, 1)}, r"must be \(low, high\)"),
        ({"value_range": 10000}, "must be two numbers"),
        ({"value_range": ("0", "1")}, r"value_range\[0\]='0'; it must be a finite number"),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(TypeError, match=message):
        read_tiff(tiff(image_of(4)), **options)


def test_pictures_that_are_too_large_are_not_decoded(monkeypatch):
    monkeypatch.setattr(levels, "MAX_PIXELS", 119)
    with pytest.raises(ValueError, match="10 x 12 pixels, more than 119"):
        read_tiff(tiff(image_of(3)))
    monkeypatch.setattr(levels, "MAX_PIXELS", 120)
    assert read_tiff(tiff(image_of(8))).shape == (12, 10, 8)
    with pytest.raises(ValueError, match="2160 bytes, more than 16 for each pixel"):
        read_tiff(tiff(image_of(9)))


def test_volumes_are_refused():
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((3, 4, 5, 6), np.uint8), imagej=True)
    with pytest.raises(ReaderMismatchError, match="pictures of height, width and bands alone"):
        read_tiff(file.getvalue())


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_damaged_files_are_value_errors(monkeypatch, compression):
    """So that training goes on with another image, and no other error ends it."""
    # Damaged sizes may be large, which takes time.
    monkeypatch.setattr(levels, "MAX_PIXELS", 1000)
    content = tiff(image_of(3), compression=compression)
    rng = np.random.default_rng(0)
    damaged = [b"", b"no TIFF", *(content[: len(content) * part // 8] for part in range(1, 8))]
    for _ in range(100):
        bytes_ = bytearray(content)
        for place in rng.integers(len(content), size=5):
            bytes_[place] = rng.integers(256)
        damaged.append(bytes(bytes_))
    refused = 0
    for wrong in damaged:
        try:
            read_tiff(wrong, value_range=(0, 1))
        except (ValueError, OSError):
            refused += 1
        except ReaderMismatchError:
            pass
    assert refused > 9


def test_what_is_not_installed_is_named(monkeypatch):
    content = tiff(image_of(3))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mmdino\[geotiff\]"'):
        read_tiff(content)


def test_a_codec_that_is_not_installed_is_named(monkeypatch):
    pytest.importorskip("imagecodecs", reason="writes LZW")
    content = tiff(image_of(3), compression="lzw")
    np.testing.assert_array_equal(read_tiff(content), image_of(3))

    def missing(*arguments, **options):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", missing)
    with pytest.raises(ModuleNotFoundError, match=r'LZW.*pip install "mmdino\[geotiff\]"'):
        read_tiff(content)

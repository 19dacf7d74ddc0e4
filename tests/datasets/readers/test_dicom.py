"""DICOM files."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest
from tiny_dicom import dicom

from mmdino.datasets.readers import ReaderMismatchError, read_dicom

pydicom = pytest.importorskip("pydicom", reason="needs pydicom (mmdino[dicom])")


def stored(shape=(6, 5), signed=False, bits=12):
    """Values as a detector with some bits stores them, with both ends."""
    least = -(2 ** (bits - 1)) if signed else 0
    values = np.random.default_rng(0).integers(least, least + 2**bits, size=shape)
    values.flat[:2] = least, least + 2**bits - 1
    return values.astype(np.int16 if signed else np.uint16)


HOUNSFIELD = {"RescaleSlope": 1, "RescaleIntercept": -1024}


@pytest.mark.parametrize("signed", [False, True])
def test_a_window_is_applied_as_pydicom_does(signed):
    values = stored(signed=signed)
    fields = {**HOUNSFIELD, "WindowCenter": [40, 300], "WindowWidth": [400, 1500]}
    content = dicom(values, **fields)
    units = pydicom.pixels.apply_modality_lut(values, pydicom.dcmread(io.BytesIO(content)))
    expected = pydicom.pixels.apply_voi_lut(units, pydicom.dcmread(io.BytesIO(content)))
    spread = (expected - expected.min()) / (expected.max() - expected.min())
    for window in ("file", (40, 400)):
        found = read_dicom(content, window=window)
        assert (found.shape, found.dtype) == ((6, 5, 1), np.uint16)
        np.testing.assert_allclose(found[..., 0] / 65535, spread, atol=1e-5)
    assert not np.array_equal(read_dicom(content, window=(300, 1500)), found)


@pytest.mark.parametrize("signed", [False, True])
def test_all_values_that_the_file_can_hold(signed):
    values = stored(signed=signed)
    found = read_dicom(dicom(values, **HOUNSFIELD), window="bits")[..., 0]
    expected = (values - float(values.min())) / 4095
    np.testing.assert_allclose(found / 65535, expected, atol=1e-5)


def test_where_large_values_are_dark_the_image_is_inverted():
    dark = dicom(stored(), PhotometricInterpretation="MONOCHROME1")
    light = read_dicom(dicom(stored()), window="bits")
    np.testing.assert_array_equal(read_dicom(dark, window="bits"), 65535 - light)


def test_colours_are_read_as_they_are():
    image = np.random.default_rng(0).integers(256, size=(6, 5, 3)).astype(np.uint8)
    np.testing.assert_array_equal(read_dicom(dicom(image, bits=8)), image)
    with pytest.raises(ReaderMismatchError, match="an image in colour, which has none"):
        read_dicom(dicom(image, bits=8), window=(40, 400))


@pytest.mark.parametrize(
    ("fields", "window", "message"),
    [
        ({}, "file", r"without a window\. Set window=\(center, width\)"),
        ({"WindowCenter": 40, "WindowWidth": 1}, "file", "without a window"),
        ({"NumberOfFrames": 2}, "bits", r"2 picture\(s\)"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "bits", "PALETTE COLOR"),
    ],
)
def test_files_that_do_not_fit_are_no_damaged_ones(fields, window, message):
    with pytest.raises(ReaderMismatchError, match=message):
        read_dicom(dicom(stored(), **fields), window=window)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("soft tissue", r"must be \(center, width\), or one of file, bits"),
        ((40, 0), "width must be above 1"),
        (40, "must be two numbers"),
        ((40, float("nan")), r"window\[1\]=nan"),
    ],
)
def test_windows_that_make_no_sense_are_refused(window, message):
    with pytest.raises((TypeError, ValueError), match=message):
        read_dicom(dicom(stored()), window=window)


def test_damaged_files_are_value_errors():
    content = dicom(stored())
    without = pydicom.dcmread(io.BytesIO(content))
    del without.PixelData
    file = io.BytesIO()
    without.save_as(file)
    for wrong in (b"", b"no DICOM", content[:100], content[:200], content[:-9], file.getvalue()):
        with pytest.raises(ValueError, match=r"DICOM|expected|bytes|length"):
            read_dicom(wrong, window="bits")


def test_what_is_not_installed_is_named(monkeypatch):
    content = dicom(stored())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "mmdino\[dicom\]"'):
        read_dicom(content)

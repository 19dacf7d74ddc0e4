"""Loading by a registered function."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.registry import DATASETS, FUNCTIONS, TRANSFORMS

from mmdino.datasets.readers import ReaderMismatchError


def read_numbers(content, dtype="uint8", channels=3):
    """Reads bytes as an image of one row."""
    values = np.frombuffer(content, np.uint8)
    if values.size % channels:
        raise ValueError("a damaged file")
    image = values.reshape(1, -1, channels).astype(dtype)
    return image[..., 0] if channels == 1 else image


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """``read_numbers`` as a user registers it."""
    monkeypatch.setitem(FUNCTIONS.module_dict, "read_numbers", read_numbers)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "image.raw"
    path.write_bytes(bytes(range(24)))
    return path


def build(reader="read_numbers", **options):
    return TRANSFORMS.build({"type": "mmdino.LoadImage", "reader": reader, **options})


@pytest.mark.parametrize("channels", [1, 2, 4, 8])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_channels_have_the_order_of_the_reader(path, channels, dtype):
    reader = {"type": "read_numbers", "dtype": dtype, "channels": channels}
    found = build(reader, channels=channels)({"img_path": str(path)})
    expected = np.arange(24).reshape(1, -1, channels)
    np.testing.assert_array_equal(found["img"], expected)
    assert found["img"].dtype == dtype
    assert found["img_shape"] == found["ori_shape"] == (1, 24 // channels)


def test_colours_become_bgr_as_those_of_mmcv(path):
    found = build()({"img_path": str(path)})["img"]
    assert found[0, 0].tolist() == [2, 1, 0]
    assert found.flags.c_contiguous


def test_images_that_do_not_fit_are_named(path):
    with pytest.raises(ReaderMismatchError, match=r"image\.raw: .* 3 channel\(s\).*channels=8"):
        build(channels=8)({"img_path": str(path)})
    with pytest.raises(ReaderMismatchError, match=r"image\.raw: .* float32 of shape \(1, 8, 3\)"):
        build({"type": "read_numbers", "dtype": "float32"})({"img_path": str(path)})


def test_damaged_images_are_skipped_and_wrong_arguments_are_not(path):
    (path.parent / "a.raw").write_bytes(bytes(5))

    def dataset(**options):
        return DATASETS.build(
            {
                "type": "mmdino.ImageFolder",
                "data_root": str(path.parent),
                "extensions": [".raw"],
                "pipeline": [
                    {"type": "mmdino.LoadImage", "reader": "read_numbers", **options},
                    {"type": "PackInputs"},
                ],
            }
        )

    sample = dataset()[0]["data_samples"]
    assert sample.img_path == str(path)
    assert sample.skipped_paths == [str(path.parent / "a.raw")]
    with pytest.raises(ReaderMismatchError):
        dataset(channels=8)[0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reader": "mmdino.read_png"}, ValueError, "not in the registry FUNCTIONS"),
        ({"reader": None}, TypeError, "must be the name of a function"),
        ({"reader": {"window": 3}}, TypeError, "must be the name of a function"),
        ({"reader": {"type": "read_numbers", "depth": 3}}, TypeError, "unexpected .* 'depth'"),
        ({"channels": 0}, ValueError, "channels=0"),
    ],
)
def test_readers_that_there_are_not_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        build(**options)


def test_a_tiff_that_mmcv_cannot_read_names_this_transform(tmp_path):
    tifffile = pytest.importorskip("tifffile", reason="needs tifffile (mmdino[geotiff])")
    kind = {"photometric": "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 8, 8), np.uint8), **kind)
    dataset = {"type": "mmdino.ImageFolder", "data_root": str(tmp_path)}
    steps = [{"type": "LoadImageFromFile"}, {"type": "PackInputs"}]
    with pytest.raises(ValueError, match=r"does not know \(see mmdino\.LoadImage\)"):
        DATASETS.build({**dataset, "pipeline": steps})[0]
    steps[0] = {"type": "mmdino.LoadImage", "reader": "mmdino.read_tiff", "channels": 8}
    assert DATASETS.build({**dataset, "pipeline": steps})[0]["inputs"].shape == (8, 9, 8)


def test_files_without_an_extension_are_listed_where_asked_for(path):
    path.rename(path.with_name("IM0001"))
    steps = [{"type": "mmdino.LoadImage", "reader": "read_numbers"}, {"type": "PackInputs"}]
    dataset = DATASETS.build(
        {
            "type": "mmdino.ImageFolder",
            "data_root": str(path.parent),
            "extensions": [""],
            "pipeline": steps,
        }
    )
    assert dataset[0]["inputs"].shape == (3, 1, 8)

"""Headers of JPEG files are read without Pillow, and as Pillow reads them."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from mmdino.datasets.image_check import content_fault, read_header

SIZE = (21, 13)


def jpeg(mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, SIZE).save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "channels"),
    [
        (jpeg(), 3),
        (jpeg("L"), 1),
        (jpeg("CMYK"), 3),
        (jpeg(progressive=True, subsampling="4:2:0", restart_marker_blocks=2), 3),
        (jpeg(exif=b"Exif\0\0" + bytes(60_000), comment=b"\xff\xc0 no frame"), 3),
    ],
)
def test_usual_files_need_no_pillow(monkeypatch, content, channels):
    monkeypatch.setattr(Image, "open", lambda file: pytest.fail("Pillow was asked"))
    assert tuple(read_header(io.BytesIO(content))) == (*SIZE, channels, 8)


def test_what_is_no_usual_header_is_left_to_pillow():
    whole = jpeg()
    frame = whole.index(b"\xff\xc0")
    changed = {
        "ends before the frame": whole[:frame],
        "ends in the frame": whole[: frame + 7],
        "12 bits": whole[: frame + 4] + b"\x0c" + whole[frame + 5 :],
        "no width": whole[: frame + 7] + b"\0\0" + whole[frame + 9 :],
        "a segment without length": whole[:2] + b"\xff\xe0\0\0" + whole[6:],
        "no marker": whole[:2] + bytes(4) + whole[6:],
    }
    for name, content in changed.items():
        try:
            with Image.open(io.BytesIO(content)) as image:
                expected = image.size
        except (OSError, SyntaxError, ValueError) as error:
            expected = type(error)
        try:
            found = read_header(io.BytesIO(content))[:2]
        except (OSError, SyntaxError, ValueError) as error:
            found = type(error)
        assert found == expected, name
    filled = whole[:2] + b"\xff" + whole[2:]
    assert read_header(io.BytesIO(filled))[:2] == SIZE


def test_a_large_frame_is_a_fault():
    content = jpeg()
    fault = content_fault(io.BytesIO(content), len(content), max_pixels=272)
    assert fault == "has 21 x 13 pixels, more than max_pixels=272"

"""Certain messages of other packages are silenced, and no other."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
import tifffile
import tiny_run

from mmdino.utils.greetings import PRINTED, WARNED, WARNED_RANKS, silence_greetings, without_printed


def test_one_printed_line_is_dropped(capsys):
    with without_printed():
        print("before")
        print(PRINTED)
        print()
        print(f"{PRINTED}, and why")
    print(PRINTED)
    assert capsys.readouterr().out == f"before\n\n{PRINTED}, and why\n{PRINTED}\n"


@pytest.mark.parametrize(
    ("message", "category"), [(WARNED, UserWarning), (WARNED_RANKS, FutureWarning)]
)
def test_one_warning_is_ignored(message, category):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        silence_greetings()
        warnings.warn(f"{message} from ``mmcv.ops``", category, stacklevel=1)
        with pytest.warns(category, match="another"):
            warnings.warn("another", category, stacklevel=1)
    assert not seen


@pytest.mark.slow
def test_opencv_and_pillow_are_silent_about_images_that_they_cannot_decode(tmp_path):
    bands = np.zeros((8, 8, 5), np.uint8)
    tifffile.imwrite(tmp_path / "bad.tif", bands, photometric="minisblack", planarconfig="contig")
    code = (
        "import mmdino, cv2, sys; from mmdino.datasets.image_check import image_fault;"
        "print(cv2.imread(sys.argv[1]), image_fault(sys.argv[1]))"
    )
    env = {k: v for k, v in tiny_run.script_env().items() if k != "OPENCV_LOG_LEVEL"}
    command = [sys.executable, "-c", code, str(tmp_path / "bad.tif")]
    told = {}
    for level in (None, "ERROR"):
        chosen = env if level is None else env | {"OPENCV_LOG_LEVEL": level}
        result = subprocess.run(command, env=chosen, capture_output=True, text=True)
        assert result.stdout == "None None\n"
        assert "samples per pixel" not in result.stderr
        told[level] = "Unsupported number of channels" in result.stderr
    assert told == {None: False, "ERROR": True}

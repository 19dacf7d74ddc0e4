"""Training on a folder with broken files."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
import tiny_run
from mmengine.registry import HOOKS

BROKEN = ("3.png", "7.png")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(10):
        image = rng.integers(256, size=(40, 40, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), image)
    (folder / BROKEN[0]).write_bytes(b"")
    (folder / BROKEN[1]).write_text("<html>404</html>")
    return folder


def build(work_dir, folder, limit=100, **options):
    dataset = {
        "type": "mmdino.ImageFolder",
        "data_root": str(folder),
        "pipeline": [
            {"type": "LoadImageFromFile", "ignore_empty": True},
            {
                "type": "mmdino.MultiCropTransform",
                "views": [
                    {"num": 2, "size": 32, "scale": (0.4, 1.0)},
                    {"num": 2, "size": 16, "scale": (0.05, 0.4)},
                ],
            },
            {"type": "PackInputs"},
        ],
    }
    return tiny_run.build(
        work_dir,
        dataset=dataset,
        batch_size=5,
        custom_hooks=tiny_run.hooks(UnreadableImagesHook={"limit": limit}),
        log_level="INFO",
        **options,
    )


def test_each_file_is_named_once_and_the_run_goes_on(tmp_path, folder):
    runner = build(tmp_path, folder, epochs=3)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 6)
    for name in BROKEN:
        line = f"Skipped unreadable image: {folder / name}"
        assert tiny_run.log_text(runner).count(line) == 1


def test_reasons_are_logged_and_names_that_are_no_utf8_too(tmp_path, folder):
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    runner = build(tmp_path, folder, epochs=1)
    runner.train()
    log = tiny_run.log_text(runner)
    assert f"Skipped unreadable image: {folder}/caf\\udce9.png is empty" in log
    assert f"Skipped unreadable image: {folder}/7.png is damaged, or no image" in log


def test_too_many_stop_the_run(tmp_path, folder):
    with pytest.raises(ValueError, match=r"2 training images .* limit of 1; the last was .*\.png"):
        build(tmp_path, folder, limit=1).train()


def test_none_may_be_allowed(tmp_path, folder):
    with pytest.raises(ValueError, match="limit of 0"):
        build(tmp_path, folder, limit=0).train()


def test_the_count_survives_a_resume(tmp_path, folder):
    build(tmp_path, folder, epochs=1, limit=2).train()
    resumed = build(tmp_path, folder, epochs=2, limit=2, resume=True)
    resumed.train()
    logs = "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert logs.count("Skipped unreadable image") == 2, "the resumed run does not log them again"

    (folder / "0.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"3 training images .* limit of 2.* last was .*0\.png"):
        build(tmp_path, folder, epochs=3, limit=2, resume=True).train()


@pytest.mark.parametrize("options", [{"limit": -1}, {"interval": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="a limit of at least 0 and an interval of at least 1"):
        HOOKS.build({"type": "mmdino.UnreadableImagesHook", **options})

"""The report of a run is there while it goes on, and shows how the network changes."""

from __future__ import annotations

import pytest
import tiny_tools

from mmdino.report import REPORT, read_run
from mmdino.report.history import HISTORY, read_history
from mmdino.utils.folder_lock import unlock_folder

REPORTED = (
    "default_hooks.report.type=mmdino.ReportHook",
    "default_hooks.report.num_images=3",
    "default_hooks.report.pool=6",
    "default_hooks.checkpoint.max_keep_ckpts=1",
    "train_cfg.val_interval=1",
    "log_level=INFO",
)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Trains a tiny network of two iterations an epoch into a work dir, with a report."""
    root = tmp_path_factory.mktemp("root")
    tiny_tools.write_configs(root)

    def run(work_dir, *options, resume=()):
        command = [str(root / "tiny.py"), "--work-dir", str(work_dir), *resume]
        tiny_tools.main_of("train.py")([*command, "--cfg-options", *REPORTED, *options])
        unlock_folder(work_dir)
        return (work_dir / REPORT).read_text() if (work_dir / REPORT).is_file() else ""

    return run


@pytest.fixture(scope="module")
def work_dir(train, tmp_path_factory):
    """The work dir of a run of two epochs, of which the second is a resumed one."""
    folder = tmp_path_factory.mktemp("run")
    # What another run has left.
    (folder / HISTORY).write_bytes(b"other images")
    assert "Finished at iteration 2 of 2" in train(folder, "train_cfg.max_epochs=1")
    train(folder, "train_cfg.max_epochs=2", resume=["--resume"])
    return folder


def test_the_report_shows_the_whole_run(work_dir):
    html = (work_dir / REPORT).read_text()
    assert "Finished at iteration 4 of 4 (epoch 2 of 2)." in html
    assert "No sign of a collapse." in html
    assert "Resumed from iteration 2." in html
    for title in ("Curves", "Views", "What the network sees", "Nearest neighbours", "Go on"):
        assert f"<h2>{title}</h2>" in html
    assert "6 of the 8 images of the validation" in html
    assert "PyTorch" in read_run(work_dir).environment


def test_maps_of_all_epochs_are_kept(work_dir):
    images, maps = read_history(work_dir)
    assert len(images.pixels) == 3
    assert [each.iteration for each in maps] == [0, 2, 4]
    for each in maps:
        assert [picture.shape for picture in each.attention] == [(4, 4, 3)] * 3
        assert [picture.shape for picture in each.components] == [(4, 4, 3)] * 3
    assert (maps[0].attention[0] != maps[2].attention[0]).any()
    assert "<th>epoch 1</th><th>epoch 2</th>" in (work_dir / REPORT).read_text()


def test_reports_may_skip_validations(tmp_path, train):
    html = train(tmp_path, "train_cfg.max_epochs=4", "default_hooks.report.interval=2")
    _, maps = read_history(tmp_path)
    assert [each.iteration for each in maps] == [0, 4, 8], "after the second epoch and at the end"
    assert "Finished at iteration 8 of 8" in html


def test_a_resumed_run_skips_the_same_validations(tmp_path, train):
    interval = "default_hooks.report.interval=2"
    train(tmp_path, "train_cfg.max_epochs=1", interval)
    train(tmp_path, "train_cfg.max_epochs=4", interval, resume=["--resume"])
    _, maps = read_history(tmp_path)
    assert [each.iteration for each in maps] == [0, 2, 4, 8], "the first is the end of one epoch"


def test_a_report_that_cannot_be_written_does_not_end_the_run(tmp_path, train):
    (tmp_path / REPORT).mkdir()
    assert train(tmp_path, "train_cfg.max_epochs=1") == ""
    told = [message.text for message in read_run(tmp_path).messages]
    assert any("The report could not be written" in text for text in told)


def test_a_run_without_validation_has_a_report_at_its_end(tmp_path, train):
    without = ("val_dataloader=None", "val_cfg=None", "val_evaluator=None")
    html = train(tmp_path, "train_cfg.max_epochs=1", *without)
    assert "Finished at iteration 2 of 2 (epoch 1 of 1)." in html
    assert "<h2>Views</h2>" in html
    assert "<h2>What the network sees</h2>" not in html
    assert "the run has no validation. mmdino report WORK_DIR --images FOLDER" in html
    assert "mmdino test" not in html

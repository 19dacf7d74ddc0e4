"""The command line: train, resume and test on a folder of images, as a user would."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from script_process import run_script
from tiny_tools import NO_FIGURE

from mmdino.engine import precision

ROOT = Path(__file__).parents[2]
TRAIN, TEST = (runpy.run_path(str(ROOT / "tools" / name)) for name in ("train.py", "test.py"))
NAME = "dino_vitt4_cifar10.py"


def run(tool, *arguments, options):
    """Runs a tool and returns what it printed."""
    ended = run_script(ROOT / "tools" / tool, *arguments, "--cfg-options", *options, cwd=ROOT)
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small):
    """A finished run: its work dir and its output."""
    work_dir = tmp_path_factory.mktemp("run")
    return work_dir, run("train.py", f"configs/{NAME}", "--work-dir", work_dir, options=small)


def test_plain_run_needs_no_launcher_and_leaves_a_checkpoint(trained):
    work_dir, output = trained
    assert (work_dir / "epoch_2.pth").is_file()
    assert "Effective batch: 4 images x 1 rank(s) x 1 micro-batch(es) = 4" in output


def test_log_shows_speed_and_signs_of_collapse(trained):
    _, output = trained
    line = next(line for line in output.splitlines() if "[2][4/4]  lr" in line)
    for figure in ("eta", "images_per_s", "data_fraction", "ce_over_lnk", "teacher_entropy", "kl"):
        assert f"{figure}:" in line
    assert "knn/top1" in output


def test_resume_goes_on_from_the_last_checkpoint(trained, small, capsys):
    work_dir, _ = trained
    train(work_dir, *small, NO_FIGURE, "train_cfg.max_epochs=3", flags=["--resume"])
    assert "resumed epoch: 2, iter: 8" in capsys.readouterr().out
    assert (work_dir / "epoch_3.pth").is_file()


def test_a_moved_run_with_a_damaged_checkpoint_goes_on_from_the_one_before(
    tmp_path, trained, small, capsys
):
    work_dir, _ = trained
    moved = tmp_path / "moved"
    shutil.copytree(work_dir, moved, ignore=shutil.ignore_patterns("epoch_3.pth"))
    damaged = moved / "epoch_2.pth"
    os.truncate(damaged, damaged.stat().st_size - 1000)
    train(moved, *small, NO_FIGURE, flags=["--resume"])
    said = capsys.readouterr().out
    assert re.search(r"Resuming from .*moved/epoch_1\.pth \(iteration 4\); passed over ", said)
    assert f"{damaged} is corrupted or truncated" in said
    assert torch.load(damaged, weights_only=False)["meta"]["iter"] == 8, "it was written again"


def test_resuming_in_an_empty_folder_is_refused(tmp_path, small):
    with pytest.raises(FileNotFoundError, match=r"nothing to resume in .*leave out --resume"):
        train(tmp_path, *small, flags=["--resume"])


@pytest.mark.parametrize(
    ("named", "error", "message"),
    [
        ("", ValueError, "must be a path or an http"),
        ("no_such.pth", FileNotFoundError, "The checkpoint 'no_such.pth' does not exist"),
    ],
)
def test_resuming_from_nothing_is_refused(tmp_path, small, named, error, message):
    with pytest.raises(error, match=message):
        train(tmp_path, *small, flags=["--resume", named])


def test_a_second_run_in_a_work_dir_is_refused(tmp_path, small):
    holder = "import sys, time; from mmdino.utils.folder_lock import lock_folder; "
    holder += "lock_folder(sys.argv[1]); print('locked', flush=True); time.sleep(600)"
    process = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT
    )
    process.stdout.readline()
    try:
        with pytest.raises(ValueError, match=f"is in use by process {process.pid} "):
            train(tmp_path, *small)
    finally:
        process.kill()
        process.wait()
    assert {path.name for path in tmp_path.iterdir()} == {".lock"}


def test_test_reports_the_same_accuracy_as_the_run(trained, small):
    work_dir, output = trained
    found = run("test.py", f"configs/{NAME}", work_dir / "epoch_2.pth", options=small)
    last = [line for line in output.splitlines() if "knn/top1" in line][-1]
    top1 = float(last.split("knn/top1: ")[1].split()[0])
    assert f"knn/top1: {top1:.2f} %" in found
    assert "System environment:" not in found, "the log file has mmengine's preamble"


def test_raw_pixels_are_compared_on_the_same_images(small, capsys):
    main = runpy.run_path(str(ROOT / "tools" / "knn_pixels.py"))["main"]
    main([str(ROOT / "configs" / NAME), "--cfg-options", *small])
    output = capsys.readouterr().out
    assert "16 bank and 16 query images, temperature 0.07" in output
    assert "raw pixels, k 10: top-1" in output
    assert "less the image's mean, k 10: top-1" in output


def test_raw_pixels_are_compared_in_one_process_that_writes_nothing(capsys):
    main = runpy.run_path(str(ROOT / "tools" / "knn_pixels.py"))["main"]
    for options in (["--launcher", "pytorch"], ["--work-dir", "x"]):
        with pytest.raises(SystemExit):
            main([str(ROOT / "configs" / NAME), *options])
        assert "omit --launcher and --work-dir" in capsys.readouterr().err


def train(work_dir, *options, flags=()):
    """Trains in this process; runs of one name would share mmengine's message hub."""
    arguments = [str(ROOT / "configs" / NAME), "--work-dir", str(work_dir)]
    here = ["train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False"]
    name = f"experiment_name={work_dir.name}"
    TRAIN["main"]([*arguments, *flags, "--cfg-options", *options, *here, name])


@pytest.mark.parametrize(
    ("processor", "line"),
    [
        ("flags: avx2 amx_bf16", "Mixed precision: torch.bfloat16 on cpu."),
        ("flags: avx2", "Float32, not mixed precision"),
    ],
)
def test_amp_trains_in_what_the_processor_computes(tmp_path, small, monkeypatch, processor, line):
    monkeypatch.setattr(precision, "cpu_info", lambda: processor)
    train(tmp_path, *small, NO_FIGURE, "train_cfg.max_epochs=1", flags=["--amp"])
    (log,) = tmp_path.rglob("*.log")
    assert line in log.read_text()


def test_a_hook_is_switched_off(tmp_path, trained, small):
    work_dir, _ = trained
    assert (work_dir / "training.png").is_file()
    train(tmp_path, *small, "train_cfg.max_epochs=1", NO_FIGURE)
    assert (tmp_path / "epoch_1.pth").is_file()
    assert not (tmp_path / "training.png").exists()


@pytest.mark.parametrize(
    ("hook", "name"), [("ema_teacher", "EMATeacherHook"), ("center_update", "CenterUpdateHook")]
)
def test_a_hook_that_the_method_needs_is_missed_at_the_start(tmp_path, small, hook, name):
    with pytest.raises(ValueError, match=rf"nothing updates .*{name}"):
        train(tmp_path, *small, f"default_hooks.{hook}=None")
    assert not list(tmp_path.glob("epoch_*.pth"))


@pytest.mark.parametrize(
    ("precision", "expected"), [("auto", "auto"), ("float16", "float16"), ("off", "float32")]
)
def test_amp_sets_the_precision_of_the_wrapper(precision, expected):
    cfg = Config({"optim_wrapper": {"type": "mmdino.StepOptimWrapper", "precision": "bfloat16"}})
    TRAIN["set_precision"](cfg, precision)
    assert cfg.optim_wrapper == {"type": "mmdino.StepOptimWrapper", "precision": expected}


@pytest.mark.parametrize("start", [{}, {"type": "AmpOptimWrapper", "loss_scale": "dynamic"}])
def test_amp_exchanges_mmengines_wrapper(monkeypatch, start):
    set_precision = TRAIN["set_precision"]
    cfg = Config({"optim_wrapper": {"accumulative_counts": 2, **start}})
    with pytest.raises(ValueError, match="needs an accelerator"):
        set_precision(cfg, "auto")
    monkeypatch.setattr("mmengine.device.get_device", lambda: "npu")
    set_precision(cfg, "auto")
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype) == ("AmpOptimWrapper", "bfloat16")
    set_precision(cfg, "float16")
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.dtype) == ("AmpOptimWrapper", "float16")
    set_precision(cfg, "off")
    assert cfg.optim_wrapper == {"accumulative_counts": 2, "type": "OptimWrapper"}


def test_amp_refuses_other_wrappers():
    cfg = Config({"optim_wrapper": {"type": "ApexOptimWrapper"}})
    with pytest.raises(ValueError, match="the config has 'ApexOptimWrapper'"):
        TRAIN["set_precision"](cfg, "auto")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["no_such.py"], FileNotFoundError, r"The config 'configs/no_such\.py'"),
        (
            [NAME, "--resume", "no_such.pth"],
            FileNotFoundError,
            r"The checkpoint 'no_such\.pth' does not exist",
        ),
        (
            [NAME, "--cfg-options", "train_dataloader.dataset.data_root=no/such/folder"],
            FileNotFoundError,
            "The image folder 'no/such/folder' does not exist",
        ),
        (
            [NAME, "--cfg-options", "model.loss.teacher_temp=-1.0", "experiment_name=too_cold"],
            ValueError,
            r"teacher_temp=-1\.0; it must be a finite number above 0",
        ),
        (
            [NAME, "--cfg-options", "max_epochs=3"],
            ValueError,
            "--cfg-options max_epochs would change nothing",
        ),
        (
            [NAME, "--cfg-options", "default_hooks.ema_techer=None"],
            ValueError,
            r"default_hooks has no 'ema_techer'\. It has center_update, ",
        ),
    ],
)
def test_wrong_input_is_explained(tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(ROOT)
    name, *options = arguments
    with pytest.raises(error, match=message):
        TRAIN["main"]([f"configs/{name}", "--work-dir", str(tmp_path), *options])


def test_a_checkpoint_of_another_architecture_is_refused(trained, small, tmp_path):
    work_dir, _ = trained
    options = [option for option in small if "num_layers" not in option]
    arguments = [str(ROOT / "configs" / NAME), str(work_dir / "epoch_2.pth")]
    arguments += ["--work-dir", str(tmp_path)]
    with pytest.raises(ValueError, match=r"(?s)The checkpoint does not match the model.*layers\.1"):
        TEST["main"]([*arguments, "--cfg-options", *options, "experiment_name=another"])


def test_a_run_without_any_hook_is_refused_at_the_start(tmp_path, small):
    options = [option for option in small if not option.startswith("default_hooks.")]
    with pytest.raises(ValueError, match=r"nothing updates its teacher and its center.*EMATeacher"):
        train(tmp_path, *options, "default_hooks=None", "custom_hooks=None")
    assert not list(tmp_path.glob("epoch_*.pth"))


def test_effective_ranks_are_no_percentages(capsys):
    metrics = {"features/rankme": 6.53, "features/neighbor_overlap": 43.44, "time": 0.5}
    TEST["report"]("epoch_1.pth", metrics)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  features/rankme: 6.53 dimensions",
        "  features/neighbor_overlap: 43.44 %",
        "  time: 0.500 s",
    ]

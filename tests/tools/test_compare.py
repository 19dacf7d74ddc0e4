"""The comparison as a user runs it: real runs, tables and figures, what fails and what is killed."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from string import Template

import pytest
import tiny_mmpretrain
import tiny_tools
import torch
from PIL import Image
from tiny_run import script_env

from mmdino.utils.folder_lock import unlock_folder

MAE = Template("""
_base_ = ["$root/tiny.py"]
model = dict(_delete_=True, **$mae)
train_dataloader = dict(dataset=dict(pipeline=[dict(type="PackInputs")]))
default_hooks = dict(
    ema_teacher=None, center_update=None, last_layer_freeze=None, teacher_temp_warmup=None
)
""")
KILLING = """
import os
import signal
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class KillParentOnce(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        killed = Path(runner.work_dir) / "killed"
        if runner.iter == 2 and not killed.exists():
            killed.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
"""
KILLED = Template("""
_base_ = ["$root/tiny.py"]
custom_imports = dict(imports="kill_parent")
custom_hooks = [dict(type="KillParentOnce")]
""")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Configs: tiny.py, of DINO, and mae.py, of mmpretrain's method on the same images."""
    root = tmp_path_factory.mktemp("compare")
    tiny_tools.write_configs(root)
    (root / "mae.py").write_text(MAE.substitute(root=root, mae=tiny_mmpretrain.mae()))
    return root


@pytest.fixture
def compare(root, monkeypatch, capfd):
    """Runs the tool in this process; returns its exit code and what it wrote."""
    # What the configs that runs write down look like takes time.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", script_env()["PYTHONPATH"])

    def run(out, *arguments):
        code, _, _ = tiny_tools.end("compare.py", [*arguments, "--out", out], monkeypatch, capfd)
        unlock_folder(out)
        return code

    return run


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def compared(root, tmp_path_factory):
    """The folder and the output of a finished comparison of DINO and MAE."""
    out = tmp_path_factory.mktemp("out") / "compare"
    command = [sys.executable, tiny_tools.TOOLS / "compare.py", root / "tiny.py", root / "mae.py"]
    command += ["--linear-c", "1", "--curves", "teacher_entropy", "kl", "--out", out]
    ended = subprocess.run(command, capture_output=True, text=True, env=script_env())
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return out, ended.stdout


def test_the_table_is_printed_and_kept(compared):
    out, printed = compared
    page = (out / "comparison.md").read_text()
    for name in ("tiny", "mae"):
        assert f"\n{name} " in printed
        assert f"\n| {name} | 1 | " in page
    assert "linear" in printed
    assert f"torch {torch.__version__}" in page
    assert "python tools/compare.py" in page
    assert "[2 of 2 runs done] mae, seed 0: trained in" in printed


def test_rows_have_all_measures(compared):
    rows = rows_of(compared[0] / "comparison.csv")
    assert [row["run"] for row in rows] == ["tiny", "mae"]
    for row in rows:
        assert (row["state"], row["epochs"], row["images"]) == ("trained", "2", "16")
        assert (row["optimizer_steps"], row["starts"], row["linear_c"]) == ("4", "1", "1.0")
        for name in ("knn_top1", "knn_k4_top1", "linear_top1"):
            assert 0 <= float(row[name]) <= 100
        for name in ("elapsed_s", "processor_s", "images_per_s", "parameters"):
            assert float(row[name]) > 0
        assert float(row["memory_mib"]) > 100


def test_curves_are_those_of_the_log(compared):
    rows = rows_of(compared[0] / "curves.csv")
    assert {row["metric"] for row in rows if row["run"] == "mae"} == {
        *("knn/top1", "knn/top5", "knn/k4_top1", "knn/k4_top5")
    }
    entropies = [row for row in rows if row["metric"] == "teacher_entropy"]
    assert [row["epoch"] for row in entropies] == ["0.5", "1.0", "1.5", "2.0"]
    last = [row for row in rows if row["metric"] == "knn/top1"][0]
    assert (last["epoch"], last["images"]) == ("2.0", "16")


def test_there_are_two_pictures(compared):
    for name in ("comparison.png", "comparison_curves.png"):
        with Image.open(compared[0] / name) as image:
            assert image.width > 500


def test_more_runs_join_and_a_failed_one_leaves_the_others(
    root, compared, compare, tmp_path, capfd
):
    """What is trained stays; the new run fails, and the rest of the table is there."""
    out = tmp_path / "compare"
    shutil.copytree(compared[0], out)
    variant = ["--run", "broken", root / "tiny.py", "optim_wrapper.optimizer.lr=1e30"]
    code = compare(out, root / "tiny.py", root / "mae.py", *variant, "--linear-c", "1")
    assert code == 1
    rows = {row["run"]: row for row in rows_of(out / "comparison.csv")}
    assert [rows[name]["starts"] for name in ("tiny", "mae", "broken")] == ["1", "1", "1"]
    assert rows["broken"]["state"] == "failed"
    error = json.loads((out / "broken" / "seed_0" / "result.json").read_text())["error"]
    assert "train.log\n" in error
    assert "loss" in error
    assert "| broken | 1 failed | -" in (out / "comparison.md").read_text()


def test_a_value_that_was_not_logged_is_named_and_the_tables_are_there(
    root, compared, monkeypatch, tmp_path, capsys
):
    out = tmp_path / "compare"
    shutil.copytree(compared[0], out)
    arguments = [root / "tiny.py", "--no-linear", "--curves", "entropi", "--out", out]
    code, printed, errors = tiny_tools.end("compare.py", arguments, monkeypatch, capsys)
    unlock_folder(out)
    assert code == 2
    assert "--curves entropi: no run has logged it. Logged are" in errors
    assert "\ntiny " in printed
    assert len(rows_of(out / "comparison.csv")) == 1


def test_another_plan_for_the_same_folder_is_refused(root, compared, monkeypatch, tmp_path, capsys):
    before = (compared[0] / "comparison.csv").read_bytes()
    arguments = [root / "tiny.py", "--epochs", "3", "--out", compared[0]]
    code, _, errors = tiny_tools.end("compare.py", arguments, monkeypatch, capsys)
    unlock_folder(compared[0])
    assert code == 2
    assert "train_cfg.max_epochs is 2 in the folder, 3 in this command" in errors
    assert (compared[0] / "comparison.csv").read_bytes() == before


@pytest.mark.skipif(sys.platform != "linux", reason="a process ends with its parent on Linux only")
def test_a_killed_comparison_resumes_and_ends_as_one_that_was_not(
    root, compared, compare, monkeypatch, tmp_path
):
    (tmp_path / "kill_parent.py").write_text(KILLING)
    (tmp_path / "tiny.py").write_text(KILLED.substitute(root=root))
    env = script_env()
    env["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    out = tmp_path / "compare"
    arguments = [tmp_path / "tiny.py", "--no-linear", "--out", out]
    command = [sys.executable, tiny_tools.TOOLS / "compare.py", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=env)
    assert ended.returncode == -signal.SIGKILL
    record = json.loads((out / "tiny" / "seed_0" / "result.json").read_text())
    assert record["state"] == "training"
    ended = subprocess.run(command, capture_output=True, text=True, env=env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "tiny, seed 0: resumes from iteration 2 of 4 iterations" in ended.stdout
    (row,) = rows_of(out / "comparison.csv")
    assert (row["state"], row["starts"]) == ("trained", "2")
    plain, resumed = (
        torch.load(Path(folder, "tiny/seed_0/epoch_2.pth"), weights_only=False)["state_dict"]
        for folder in (compared[0], out)
    )
    assert all(torch.equal(value, resumed[name]) for name, value in plain.items())

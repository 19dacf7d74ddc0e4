"""The comparison as a user runs it: real runs, killed once, with their tables and figures."""

from __future__ import annotations

import csv
import os
import runpy
import shutil
import signal
import sys
from pathlib import Path
from string import Template

import pytest
import tiny_comparison
import tiny_mmpretrain
import tiny_tools
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from script_process import ScriptProcess
from tiny_run import script_env

from mmdino.comparison.progress import Progress
from mmdino.utils.command_line import drop_hooks
from mmdino.utils.folder_lock import unlock_folder

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="a process ends with its parent on Linux only"
)
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
    (root / "kill_parent.py").write_text(KILLING)
    (root / "killed").mkdir()
    (root / "killed" / "tiny.py").write_text(KILLED.substitute(root=root))
    return root


@pytest.fixture(scope="module")
def environment(root):
    """What a comparison has in its environment, so that its runs find the hook that kills it."""
    return {"PYTHONPATH": f"{script_env()['PYTHONPATH']}{os.pathsep}{root}"}


@pytest.fixture(scope="module")
def compared(root, environment, tmp_path_factory):
    """The folder and the output of a comparison of DINO and MAE that was killed and resumed."""
    out = tmp_path_factory.mktemp("out") / "compare"
    command = [tiny_tools.TOOLS / "compare.py"]
    command += [root / "killed" / "tiny.py", root / "mae.py", "--out", out]
    command += ["--linear-c", "1", "--curves", "teacher_entropy", "kl"]
    killed, ended = (ScriptProcess(*command, **environment).wait() for _ in range(2))
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return out, ended.stdout


@pytest.fixture
def compare(root, monkeypatch, capsys):
    """Runs the tool in this process; returns its exit code, and standard output and error.

    What it trains is pretended: a config of the name fails.py fails.
    """
    monkeypatch.syspath_prepend(root)
    main = tiny_tools.main_of("compare.py")
    monkeypatch.setitem(main.__globals__, "TRAIN", tiny_comparison.SCRIPT)

    def run(out, *arguments):
        ended = tiny_tools.end("compare.py", [*arguments, "--out", out], monkeypatch, capsys)
        unlock_folder(out)
        return ended

    return run


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_is_printed_and_kept(compared):
    out, printed = compared
    page = (out / "comparison.md").read_text()
    for name in ("tiny", "mae"):
        assert f"\n{name} " in printed
        assert f"\n| {name} | 1 | " in page
    assert "linear" in printed
    assert f"torch {torch.__version__}" in page
    assert "python tools/compare.py" in page
    assert "[0 of 2 runs done] tiny, seed 0: resumes from iteration 2 of 4 iterations" in printed
    assert "[2 of 2 runs done] mae, seed 0: trained in" in printed


def test_rows_have_all_measures(compared):
    rows = rows_of(compared[0] / "comparison.csv")
    assert [(row["run"], row["starts"]) for row in rows] == [("tiny", "2"), ("mae", "1")]
    for row in rows:
        assert (row["state"], row["epochs"], row["images"]) == ("trained", "2", "16")
        assert (row["optimizer_steps"], row["linear_c"]) == ("4", "1.0")
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
    last = next(row for row in rows if row["metric"] == "knn/top1")
    assert (last["epoch"], last["images"]) == ("2.0", "16")


def test_there_are_two_pictures(compared):
    for name in ("comparison.png", "comparison_curves.png"):
        with Image.open(compared[0] / name) as image:
            assert image.width > 500


def test_a_resumed_run_ends_as_one_that_was_not_killed(root, compared, tmp_path):
    cfg = Config.fromfile(root / "tiny.py")
    drop_hooks(cfg)
    cfg.work_dir = str(tmp_path)
    Runner.from_cfg(cfg).train()
    plain, resumed = (
        torch.load(Path(folder, "epoch_2.pth"), weights_only=False)["state_dict"]
        for folder in (tmp_path, compared[0] / "tiny" / "seed_0")
    )
    assert all(torch.equal(value, resumed[name]) for name, value in plain.items())


def test_more_runs_join_and_a_failed_one_leaves_the_others(root, compared, compare, tmp_path):
    out = tmp_path / "compare"
    shutil.copytree(compared[0], out)
    (tmp_path / "fails.py").write_text(f"_base_ = ['{root}/tiny.py']")
    both = [root / "killed" / "tiny.py", root / "mae.py"]
    code, printed, _ = compare(out, *both, tmp_path / "fails.py", "--linear-c", "1")
    assert code == 1
    assert "[2 of 3 runs done] fails, seed 0: starts" in printed
    log = out / "fails" / "seed_0" / "train.log"
    assert f"fails, seed 0: failed: exit code 1, see {log}\nerror: the loss is not" in printed
    rows = {row["run"]: row for row in rows_of(out / "comparison.csv")}
    assert [rows[name]["starts"] for name in ("tiny", "mae", "fails")] == ["2", "1", "1"]
    assert rows["fails"]["state"] == "failed"
    page = (out / "comparison.md").read_text()
    assert "| fails | 1 failed | -" in page
    assert f"- fails, seed 0 failed: exit code 1, see {log}" in page


def test_a_value_that_was_not_logged_is_named_and_the_tables_are_there(
    root, compared, compare, tmp_path
):
    out = tmp_path / "compare"
    shutil.copytree(compared[0], out)
    code, printed, errors = compare(out, root / "mae.py", "--no-linear", "--curves", "entropi")
    assert code == 2
    assert "--curves entropi: no run has logged it. Logged are" in errors
    assert "\nmae " in printed
    assert len(rows_of(out / "comparison.csv")) == 1


def test_another_plan_for_the_same_folder_is_refused(root, compared, compare):
    before = (compared[0] / "comparison.csv").read_bytes()
    code, _, errors = compare(compared[0], root / "mae.py", "--epochs", "3")
    assert code == 2
    assert "train_cfg.max_epochs is 2 in the folder, 3 in this command" in errors
    assert (compared[0] / "comparison.csv").read_bytes() == before


def refuse(*arguments):
    """In place of a measurement."""
    raise ValueError("its features are not finite")


def test_a_run_that_cannot_be_measured_leaves_its_other_measures(
    root, compared, compare, monkeypatch, tmp_path
):
    out = tmp_path / "compare"
    shutil.copytree(compared[0], out)
    with monkeypatch.context() as patch:
        patch.setattr("mmdino.comparison.measuring.measure", refuse)
        code, printed, _ = compare(out, root / "mae.py", "--linear-c", "2")
    assert code == 1
    assert "mae, seed 0 failed: cannot be measured: its features are not finite" in printed
    assert "\nmae " in printed
    code, _, _ = compare(out, root / "mae.py", "--linear-c", "2")
    (row,) = rows_of(out / "comparison.csv")
    assert (code, row["linear_c"], row["error"]) == (0, "2.0", "")


def test_a_measure_that_is_there_takes_back_the_error_of_another(
    root, compared, compare, monkeypatch, tmp_path
):
    out = tmp_path / "compare"
    shutil.copytree(compared[0], out)
    monkeypatch.setattr("mmdino.comparison.measuring.measure", refuse)
    assert compare(out, root / "mae.py", "--linear-c", "2")[0] == 1
    (row,) = rows_of(out / "comparison.csv")
    assert (row["linear_top1"], row["linear_c"]) == ("", ""), "those there are of another strength"
    assert float(row["parameters"]) > 0
    assert compare(out, root / "mae.py", "--linear-c", "1")[0] == 0
    (row,) = rows_of(out / "comparison.csv")
    assert (row["linear_c"], row["error"]) == ("1.0", "")
    assert '"error": ""' in (out / "mae" / "seed_0" / "result.json").read_text()


def test_ctrl_c_is_one_word(root, compare, monkeypatch, tmp_path):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "started", interrupt)
    code, _, errors = compare(tmp_path / "compare", root / "mae.py")
    assert (code, errors.splitlines()[-1]) == (130, "interrupted")


@pytest.mark.slow
def test_a_run_that_diverges_beside_one_that_does_not(root, environment, tmp_path):
    """Both train at the same time, for as many images; the one whose loss is infinite fails."""
    out = tmp_path / "compare"
    command = [tiny_tools.TOOLS / "compare.py", root / "tiny.py", "--out", out]
    command += ["--run", "diverges", root / "tiny.py", "optim_wrapper.optimizer.lr=1e30"]
    command += ["--images", "26", "--jobs", "2", "--no-linear"]
    ended = ScriptProcess(*command, **environment).wait()
    assert ended.returncode == 1, ended.stderr
    chosen = "26 images are 3.25 epochs of 8; it trains 3, which are 24 images."
    assert f"tiny: {chosen}" in ended.stdout
    assert "diverges, seed 0: failed: exit code 2, see" in ended.stdout
    assert "error: " in ended.stdout
    trained, failed = rows_of(out / "comparison.csv")
    assert (trained["state"], trained["images"], failed["state"]) == ("trained", "24", "failed")
    assert f"- diverges: {chosen}" in (out / "comparison.md").read_text()


def test_configs_have_the_names_that_train_takes():
    tool = runpy.run_path(str(tiny_tools.TOOLS / "compare.py"))
    args = tool["parser"]().parse_args(
        ["dino_demo", "--run", "b", "mmdino::byol/byol_demo.py", "max_epochs=1"]
    )
    (first, config, _), (second, other, options) = tool["variants_of"](args)
    assert (first, second, options) == ("dino_demo", "b", ["max_epochs=1"])
    assert Path(config).is_file()
    assert Path(other).is_file()

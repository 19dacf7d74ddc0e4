"""Several processes on CPUs, started as on GPUs by tools/dist_train.sh, or as torchrun does."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import tiny_run
import torch
from script_process import ScriptProcess, run_ranks, run_script
from tiny_tools import NO_FIGURE

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "dino_vitt4_cifar10.py"
DIST_TRAIN = ROOT / "tools" / "dist_train.sh"
TRAIN = ROOT / "tools" / "train.py"
SCRIPTS = Path(__file__).parents[1] / "scripts"
SEED = "randomness.seed=3"


def run(*command, cwd=ROOT, **variables):
    """Runs a command without a GPU and returns what it ended with and printed."""
    env = tiny_run.script_env(CUDA_VISIBLE_DEVICES="", GLOO_SOCKET_IFNAME="lo", **variables)
    env["PYTHONPATH"] += f":{SCRIPTS}"
    return subprocess.run(
        list(map(str, command)), env=env, cwd=cwd, capture_output=True, text=True, timeout=300
    )


def run_as_ranks(tool, *arguments):
    """Runs a tool as two ranks, without the seconds that a launcher and its imports take."""
    return run_ranks(tool, *arguments, "--launcher", "pytorch", cwd=ROOT)


def options(work_dir, small, *more):
    return ["--work-dir", work_dir, "--cfg-options", *small, SEED, NO_FIGURE, *more]


def weights(work_dir, epoch):
    return torch.load(work_dir / f"epoch_{epoch}.pth", weights_only=False)["state_dict"]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory, small):
    """A run of two ranks of a shipped config, started elsewhere: its work dir and its output."""
    folder = tmp_path_factory.mktemp("two ranks")
    changes = ["--work-dir", "run", "--cfg-options", *small, SEED, "train_cfg.val_interval=9"]
    result = run(DIST_TRAIN, CONFIG.stem, 2, *changes, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder / "run", result.stdout


def test_one_run_is_logged_and_validated(two_ranks):
    work_dir, output = two_ranks
    assert "Effective batch: 4 images x 2 rank(s) x 1 micro-batch(es) = 8" in output
    assert output.count("Epoch(train) [2][2/2]") == 1
    assert output.count("is beyond the run of 2") == 1
    assert "16 bank and 16 query images" in output
    assert sorted(path.name for path in work_dir.glob("*.pth")) == ["epoch_1.pth", "epoch_2.pth"]


def test_two_ranks_equal_one_with_the_whole_batch(two_ranks, tmp_path, small):
    run_script(TRAIN, CONFIG, *options(tmp_path, small, "train_dataloader.batch_size=8"))
    expected, found = weights(tmp_path, 2), weights(two_ranks[0], 2)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        # In the last epoch alone weights move by 9e-5.
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=5e-6, msg=name)


def test_a_killed_rank_ends_the_run_which_resumes(two_ranks, tmp_path, small):
    config = tmp_path / "killed.py"
    config.write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        "custom_imports = dict(imports='killing_hook')\n"
        "custom_hooks = [dict(type='KillingHook', rank=1, iteration=3)]\n"
    )
    work_dir = tmp_path / "run"
    killed = run(DIST_TRAIN, config, 2, *options(work_dir, small))
    assert killed.returncode == 128 + 9
    assert "error: rank 1 was ended by signal SIGKILL" in killed.stderr
    assert "Traceback" not in killed.stderr
    resume = ["--resume", work_dir / "epoch_1.pth"]
    for resumed in run_as_ranks(TRAIN, CONFIG, *resume, *options(work_dir, small)):
        assert resumed.returncode == 0, resumed.stderr
    expected, found = weights(two_ranks[0], 2), weights(work_dir, 2)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_ranks_evaluate_and_one_reports(two_ranks, tmp_path, small):
    work_dir, _ = two_ranks
    tool = [ROOT / "tools" / "test.py", CONFIG, work_dir / "epoch_2.pth"]
    ranks = run_as_ranks(*tool, *options(tmp_path, small))
    assert [rank.returncode for rank in ranks] == [0, 0], [rank.stderr for rank in ranks]
    assert [rank.stdout.count("\n  knn/top1: ") for rank in ranks] == [1, 0]


def test_ranks_with_the_same_error_tell_it_once(tmp_path, small):
    wrong = options(tmp_path, small, "model.loss.teacher_temp=-1.0")
    ranks = run_as_ranks(TRAIN, CONFIG, *wrong)
    message = "DINOLoss got teacher_temp=-1.0; it must be"
    # Rank 1 leaves it to rank 0, and is ended when that has.
    assert [rank.returncode for rank in ranks] == [2, -signal.SIGTERM]
    assert sum(rank.stderr.count(message) for rank in ranks) == 1
    assert not any("Traceback" in rank.stderr for rank in ranks)
    (log,) = tmp_path.rglob("*.log")
    assert log.read_text().count(message) == 1


def test_the_launcher_ends_as_its_ranks_and_names_one(tmp_path):
    script = tmp_path / "refuses.py"
    script.write_text("raise SystemExit(2)")
    launcher = [ROOT / "tools" / "launch_ranks.py", "--standalone", "--local_addr", "127.0.0.1"]
    ended = ScriptProcess(*launcher, "--nproc_per_node", 2, script).wait()
    assert ended.returncode == 2
    assert re.search(r"error: rank [01] was ended with exit code 2; the others", ended.stderr)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([CONFIG], "usage: "),
        ([CONFIG, "two"], "error: invalid number of processes 'two': expected 1 or more"),
        ([CONFIG, "0"], "error: invalid number of processes '0'"),
        ([CONFIG, "-1"], "error: invalid number of processes '-1'"),
        ([CONFIG, "--amp"], "error: invalid number of processes '--amp'"),
        (["no such.py", 2], "error: The config 'no such.py' does not exist."),
        ([ROOT / "configs", 2], f"error: The config '{ROOT / 'configs'}' does not exist."),
    ],
)
def test_dist_train_explains_wrong_arguments(arguments, message):
    result = run(DIST_TRAIN, *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1


def test_an_occupied_port_is_named():
    with socket.create_server(("", 0)) as server:
        result = run(DIST_TRAIN, CONFIG, 2, PORT=str(server.getsockname()[1]))
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: another program uses the port")

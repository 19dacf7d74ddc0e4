"""What launchers leave in the environment, and configs of ranks on CPUs; tests/tools has runs."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from torch import distributed

from mmdino.utils import ranks
from mmdino.utils.ranks import prepare_ranks

ENVIRONMENTS = {
    "pytorch": {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"},
    "slurm": {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "1"},
    "mpi": {
        "OMPI_COMM_WORLD_RANK": "0",
        "OMPI_COMM_WORLD_LOCAL_RANK": "0",
        "OMPI_COMM_WORLD_SIZE": "1",
    },
}
MEETING = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
DDP = {
    "type": "MMDistributedDataParallel",
    "device_ids": None,
    "broadcast_buffers": False,
    "find_unused_parameters": False,
}


@pytest.fixture(autouse=True)
def _cpu(monkeypatch):
    """A CPU without launcher; the environment is restored."""
    monkeypatch.setattr(ranks, "get_device", lambda: "cpu")
    with mock.patch.dict(os.environ):
        for names in (*ENVIRONMENTS.values(), MEETING, ("TORCHELASTIC_RUN_ID", "SLURM_NODELIST")):
            for name in names:
                os.environ.pop(name, None)
        yield


@pytest.fixture
def joined(monkeypatch):
    """Arguments of the calls that join ranks, which then do nothing."""
    calls = mock.Mock()
    monkeypatch.setattr(ranks, "init_process_group", calls)
    return calls


def launched(launcher="pytorch", environment=None, **options):
    """The prepared config of a rank that a launcher has started."""
    os.environ.update({**ENVIRONMENTS[launcher], **MEETING, **(environment or {})})
    cfg = Config({"launcher": launcher, **options})
    prepare_ranks(cfg)
    return cfg


@pytest.mark.parametrize("launcher", ENVIRONMENTS)
def test_a_rank_on_a_cpu_joins_the_others(launcher):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    launched(launcher, {"MASTER_PORT": port})
    total = torch.ones(1)
    distributed.all_reduce(total)
    backend = distributed.get_backend()
    distributed.destroy_process_group()
    assert (backend, total.item()) == ("gloo", 1)


def test_ranks_that_have_joined_are_left_alone(monkeypatch, joined):
    monkeypatch.setattr(ranks, "is_distributed", lambda: True)
    cfg = Config({"launcher": "pytorch"})
    prepare_ranks(cfg)
    joined.assert_not_called()
    assert cfg.model_wrapper_cfg == DDP


@pytest.mark.parametrize(
    ("dist_cfg", "timeout"), [({}, None), ({"timeout": 7}, timedelta(seconds=7))]
)
def test_the_configs_timeout_holds(joined, dist_cfg, timeout):
    launched(env_cfg={"dist_cfg": dist_cfg})
    joined.assert_called_once_with("gloo", timeout=timeout)


@pytest.mark.parametrize("timeout", ["7", 0, -1])
def test_a_wrong_timeout_is_refused(joined, timeout):
    with pytest.raises(ValueError, match=rf"dist_cfg\.timeout={timeout!r}: expected a number of s"):
        launched(env_cfg={"dist_cfg": {"timeout": timeout}})


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, DDP),
        ({"static_graph": True}, {"static_graph": True, "device_ids": None}),
        (
            {"type": "mmengine.MMDistributedDataParallel"},
            {"type": "mmengine.MMDistributedDataParallel", "device_ids": None},
        ),
        ({"type": "Other"}, {"type": "Other"}),
    ],
)
def test_the_wrapper_of_the_model_has_no_device(joined, own, expected):
    assert launched(model_wrapper_cfg=own).model_wrapper_cfg == expected
    flexible = launched(
        runner_type="FlexibleRunner",
        strategy={"type": "DDPStrategy"} | ({} if own is None else {"model_wrapper": own}),
    )
    assert flexible.strategy.model_wrapper == expected


def test_mmengines_other_defaults_stay(joined):
    cfg = launched(find_unused_parameters=True)
    assert cfg.model_wrapper_cfg == DDP | {"find_unused_parameters": True}
    assert launched(runner_type="FlexibleRunner").strategy == {
        "type": "DDPStrategy",
        "model_wrapper": DDP,
    }


def test_the_sharding_strategy_of_this_project_is_left_alone(joined):
    strategy = {"type": "mmdino.StudentTeacherFSDPStrategy"}
    assert launched(runner_type="FlexibleRunner", strategy=strategy).strategy == strategy


@pytest.mark.parametrize("name", ["FSDPStrategy", "mmengine.DeepSpeedStrategy"])
def test_strategies_for_accelerators_are_refused(joined, name):
    with pytest.raises(ValueError, match=r"No accelerator was found, and strategy\.type='\w+' "):
        launched(runner_type="FlexibleRunner", strategy={"type": name})


@pytest.mark.parametrize("launcher", ENVIRONMENTS)
def test_a_launcher_that_has_not_started_the_process_is_refused(launcher):
    name = next(iter(ENVIRONMENTS[launcher]))
    with pytest.raises(ValueError, match=f"--launcher {launcher} found no {name}, .*Start the run"):
        prepare_ranks(Config({"launcher": launcher}))


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5"])
def test_wrong_values_in_the_environment_are_named(joined, value):
    with pytest.raises(ValueError, match=r"found no RANK in|invalid RANK='"):
        launched(environment={"RANK": value})


def test_the_first_host_of_a_slurm_job_has_to_be_known():
    os.environ.update(ENVIRONMENTS["slurm"])
    with pytest.raises(ValueError, match=r"scontrol does not tell .*: set MASTER_ADDR"):
        prepare_ranks(Config({"launcher": "slurm"}))


def test_scontrol_tells_the_first_host(joined, tmp_path):
    tool = tmp_path / "scontrol"
    tool.write_text(
        '#!/bin/sh\necho "$@" | grep -q "show hostnames n\\[4-5\\]" && echo n4 && echo n5'
    )
    tool.chmod(0o755)
    os.environ.update(ENVIRONMENTS["slurm"], SLURM_NODELIST="n[4-5]")
    os.environ["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    prepare_ranks(Config({"launcher": "slurm"}))
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("n4", "29500")
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == ("0", "1")


def test_more_ranks_than_gpus_are_refused(monkeypatch, joined):
    monkeypatch.setattr(ranks, "get_device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    cfg = launched(environment={"LOCAL_RANK": "1"})
    assert "model_wrapper_cfg" not in cfg
    joined.assert_not_called()
    with pytest.raises(ValueError, match=r"process 3 of this machine, which has 2 GPU\(s\)"):
        launched(environment={"LOCAL_RANK": "2"})


def test_processes_that_would_not_know_of_each_other_are_refused():
    cfg = Config({"launcher": "none"})
    prepare_ranks(cfg)
    os.environ.update(TORCHELASTIC_RUN_ID="7", WORLD_SIZE="1")
    prepare_ranks(cfg)
    os.environ["WORLD_SIZE"] = "2"
    with pytest.raises(ValueError, match=r"2 processes, .*: add --launcher pytorch"):
        prepare_ranks(cfg)

"""The processes of a run, its ranks: what their launcher says of them, and ranks on CPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import timedelta
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed, is_main_process
from torch.distributed import init_process_group


class Launcher(NamedTuple):
    """What starts the ranks of a run and tells each its place, in the environment."""

    variables: dict[str, str]
    """Its names of torch's variables."""
    command: str
    """What to start a run with."""


RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
LAUNCHERS = {
    "pytorch": Launcher(
        {name: name for name in (*RANK_VARIABLES, "MASTER_ADDR", "MASTER_PORT")},
        "torchrun, or tools/dist_train.sh CONFIG PROCESSES",
    ),
    "slurm": Launcher(
        dict(zip(RANK_VARIABLES, ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS"), strict=True)),
        "srun, or tools/slurm_train.sh",
    ),
    "mpi": Launcher(
        {
            **{name: f"OMPI_COMM_WORLD_{name.removeprefix('WORLD_')}" for name in RANK_VARIABLES},
            "MASTER_ADDR": "MASTER_ADDR",
        },
        "mpirun of Open MPI, with MASTER_ADDR set to the first host",
    ),
}
NOT_ON_CPUS = {
    "FSDPStrategy": "saves a wrong optimiser state there; mmdino.StudentTeacherFSDPStrategy works",
    "DeepSpeedStrategy": "works on accelerators only",
    "ColossalAIStrategy": "works on accelerators only",
}
"""Strategies of mmengine that must not be used without an accelerator, and why."""


def prepare_ranks(cfg: Config) -> None:
    """Checks what the launcher says; without an accelerator joins the ranks and adapts the config.

    mmengine joins ranks by itself where there is an accelerator, and asks for one otherwise.

    Args:
        cfg: The config, with ``launcher``.

    Raises:
        ValueError: If the environment has not what the launcher sets, the machine has too few GPUs,
            or the config has a strategy that needs an accelerator.
    """
    if cfg.launcher == "none":
        _refuse_unconnected()
        return
    device = get_device()
    if device == "cpu":
        _use_cpus(cfg)
    if is_distributed():
        return
    variables = _read_variables(cfg.launcher)
    if device == "cpu":
        _join(variables, cfg.get("env_cfg", {}).get("dist_cfg", {}).get("timeout"))
    elif device == "cuda" and int(variables["LOCAL_RANK"]) >= torch.cuda.device_count():
        raise ValueError(
            f"This is process {int(variables['LOCAL_RANK']) + 1} of this machine, which has "
            f"{torch.cuda.device_count()} GPU(s). Start at most as many processes as there are "
            "GPUs."
        )


def is_first_rank(launcher: str) -> bool:
    """Returns whether this process is the first of its run, also before the ranks are joined."""
    if launcher == "none" or is_distributed():
        return is_main_process()
    return int(_read_variables(launcher)["RANK"]) == 0


def _refuse_unconnected() -> None:
    ranks = os.environ.get("WORLD_SIZE", "1")
    if "TORCHELASTIC_RUN_ID" in os.environ and ranks != "1":
        raise ValueError(
            f"torchrun has started {ranks} processes, which would each do all of the work: add "
            "--launcher pytorch."
        )


def _read_variables(name: str) -> dict[str, str]:
    """Returns torch's variables as a launcher has set them."""
    launcher = LAUNCHERS[name]
    found = {ours: os.environ.get(theirs) for ours, theirs in launcher.variables.items()}
    missing = [launcher.variables[ours] for ours, value in found.items() if not value]
    if missing:
        raise ValueError(
            f"--launcher {name} found no {', '.join(missing)} in the environment. Start the run "
            f"with {launcher.command}; for a single process leave out --launcher."
        )
    for ours in (*RANK_VARIABLES, "MASTER_PORT"):
        if ours in found and not found[ours].isdecimal():
            raise ValueError(
                f"invalid {launcher.variables[ours]}={found[ours]!r} in the environment: expected "
                f"a number of 0 or more. Start the run with {launcher.command}."
            )
    return found


def _use_cpus(cfg: Config) -> None:
    """Takes out of a config that each rank has an accelerator, which is mmengine's default."""
    wrapper = {
        "type": "MMDistributedDataParallel",
        "device_ids": None,
        "broadcast_buffers": False,
        "find_unused_parameters": cfg.get("find_unused_parameters", False),
    }
    cfg.model_wrapper_cfg = _with_device(cfg.get("model_wrapper_cfg"), wrapper)
    if cfg.get("runner_type") == "FlexibleRunner":
        cfg.strategy = cfg.get("strategy") or {"type": "DDPStrategy"}
        kind = cfg.strategy["type"]
        name = (kind if isinstance(kind, str) else kind.__name__).split(".")[-1]
        if name in NOT_ON_CPUS:
            raise ValueError(
                f"No accelerator was found, and strategy.type={name!r} {NOT_ON_CPUS[name]}. Change "
                "it, or leave out runner_type and strategy."
            )
        if name == "DDPStrategy":
            cfg.strategy.model_wrapper = _with_device(cfg.strategy.get("model_wrapper"), wrapper)


def _with_device(own: dict | None, default: dict) -> dict:
    """Returns a config's own wrapper of the model, on the CPU, or the default."""
    if own is None:
        return default
    if "DistributedDataParallel" not in str(own.get("type", default["type"])):
        return own
    return {"device_ids": None, **own}


def _join(variables: dict[str, str], timeout: float | None) -> None:
    """Joins the ranks of a run with torch's backend for CPUs.

    Args:
        variables: torch's variables.
        timeout: Seconds to wait for another rank; None for torch's 30 minutes.
    """
    if not (timeout is None or (isinstance(timeout, (int, float)) and timeout > 0)):
        raise ValueError(
            f"invalid env_cfg.dist_cfg.timeout={timeout!r}: expected a number of seconds above 0."
        )
    if "MASTER_ADDR" not in variables:
        variables["MASTER_ADDR"] = os.environ.get("MASTER_ADDR") or _first_host()
    variables.setdefault("MASTER_PORT", os.environ.get("MASTER_PORT", "29500"))
    os.environ.update(variables)
    init_process_group("gloo", timeout=None if timeout is None else timedelta(seconds=timeout))


def _first_host() -> str:
    """Returns the first host of a job of SLURM."""
    command = ["scontrol", "show", "hostnames", os.environ.get("SLURM_NODELIST", "")]
    if shutil.which(command[0]):
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        if listed.returncode == 0 and listed.stdout.strip():
            return listed.stdout.split()[0]
    raise ValueError(
        "scontrol does not tell which host of the job is the first: set MASTER_ADDR to its name."
    )

"""Checks of what mmengine's runner reads, section by section."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from multiprocessing import get_all_start_methods
from typing import Any, Literal

import torch
from mmengine.dist import init_dist
from mmengine.evaluator import Evaluator
from mmengine.hooks import (
    CheckpointHook,
    DistSamplerSeedHook,
    Hook,
    IterTimerHook,
    LoggerHook,
    ParamSchedulerHook,
    RuntimeInfoHook,
)
from mmengine.registry import (
    EVALUATOR,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODEL_WRAPPERS,
    MODELS,
    PARAM_SCHEDULERS,
    STRATEGIES,
    VISUALIZERS,
)
from mmengine.runner import (
    EpochBasedTrainLoop,
    IterBasedTrainLoop,
    LogProcessor,
    Priority,
    Runner,
    ValLoop,
    get_priority,
)
from mmengine.runner import TestLoop as RunnerTestLoop
from mmengine.utils.dl_utils import set_multi_processing
from torch.distributed import init_process_group

from mmdino.config_check.arguments import Argument, arguments_of
from mmdino.config_check.components import Walk
from mmdino.config_check.optim_wrapper import check_optim_wrapper
from mmdino.config_check.places import Place, is_of_project
from mmdino.config_check.problems import join
from mmdino.config_check.registries import find
from mmdino.config_check.source import keys_read
from mmdino.config_check.spelling import did_you_mean, near_misses, nearest
from mmdino.utils.dependencies import missing_optional

MMENGINE_HOOKS: dict[str, type[Hook]] = {
    "runtime_info": RuntimeInfoHook,
    "timer": IterTimerHook,
    "sampler_seed": DistSamplerSeedHook,
    "logger": LoggerHook,
    "param_scheduler": ParamSchedulerHook,
    "checkpoint": CheckpointHook,
}
"""Entries of ``default_hooks`` that mmengine has by itself, and leaves out where they are None."""
TOGETHER = (
    ("train_dataloader", "train_cfg", "optim_wrapper"),
    ("val_dataloader", "val_cfg", "val_evaluator"),
    ("test_dataloader", "test_cfg", "test_evaluator"),
)
"""Sections that a run has all or none of."""
LOGGERS = {
    "TensorboardVisBackend": "tensorboard",
    "WandbVisBackend": "wandb",
    "MLflowVisBackend": "mlflow",
}
"""Packages that backends of the visualizer import late; the extra of each has its name."""
ANNOTATIONS = {
    "cudnn_benchmark": Argument(bool, is_exact=True),
    "enable": Argument(bool, is_exact=True),
    "mp_start_method": Argument(Literal[tuple(get_all_start_methods())], is_exact=True),
}
"""What mmengine leaves without an annotation, or with a wider one, in dicts that it reads."""


def check_sections(walk: Walk, cfg: Mapping[str, Any]) -> None:
    """Checks all sections of a config that it has."""
    for key, check in CHECKS.items():
        if cfg.get(key) is not None:
            check(walk, cfg[key], key)
    for group in TOGETHER:
        given = [key for key in group if cfg.get(key) is not None]
        missing = [key for key in group if cfg.get(key) is None]
        if given and missing:
            walk.problems.add(
                ", ".join(missing), f"missing beside {', '.join(given)}; give all of them or none"
            )


def check_model(walk: Walk, value: Any, path: str) -> None:
    """Checks the model."""
    walk.component(value, path, Place(MODELS))


def check_evaluator(walk: Walk, value: Any, path: str) -> None:
    """Checks a metric, a list of them, or an evaluator that has some."""
    if isinstance(value, Mapping) and "metrics" in value:
        walk.component(value, path, Place(EVALUATOR, default=Evaluator))
    else:
        walk.component(value, path, Place(METRICS))


def check_loop(walk: Walk, value: Any, path: str) -> None:
    """Checks a loop."""
    given = {"runner", "dataloader", "evaluator"}
    extra: set[str] = set()
    if not isinstance(value, Mapping) or "type" in value:
        if isinstance(value, Mapping) and "by_epoch" in value:
            extra = {"by_epoch"}
            walk.problems.add(
                join(path, "by_epoch"), "it goes with loops that have no type; leave it out"
            )
        walk.component(value, path, Place(LOOPS, given, extra))
        return
    loop: type = {"val_cfg": ValLoop, "test_cfg": RunnerTestLoop}.get(path, EpochBasedTrainLoop)
    if path == "train_cfg":
        if "by_epoch" not in value:
            walk.problems.add(path, "it needs a type, or by_epoch=True or False")
        extra = {"by_epoch"}
        loop = EpochBasedTrainLoop if value.get("by_epoch", True) else IterBasedTrainLoop
    walk.arguments(value, path, loop, arguments_of(loop), Place(LOOPS, given, extra))


def check_hooks(walk: Walk, value: Any, path: str) -> None:
    """Checks hooks, in a dict by their names or in a list."""
    place = Place(HOOKS, extra={"priority"})
    built: dict[str, Callable | None] = {}
    if path == "default_hooks" and isinstance(value, Mapping):
        for name, hook in value.items():
            if _is_misspelt(walk, name, hook):
                walk.problems.add_unknown(path, name, "mmengine", MMENGINE_HOOKS)
            elif isinstance(hook, Mapping) and "type" not in hook:
                others = {*value, *MMENGINE_HOOKS} - {name}
                guess = did_you_mean(nearest(name, others))
                walk.problems.add(join(path, name), f"this hook has no type{guess}")
            elif hook is not None:
                built[join(path, name)] = walk.component(hook, join(path, name), place)
        members = {join(path, name): hook for name, hook in value.items()}
    elif path == "default_hooks":
        walk.problems.add(path, f"got {value!r}; expected a dict of hooks by name")
        return
    elif isinstance(value, (list, tuple)):
        members = {join(path, index): hook for index, hook in enumerate(value)}
        built = {name: walk.component(hook, name, place) for name, hook in members.items()}
    else:
        walk.problems.add(path, f"got {value!r}; expected a list of hooks")
        return
    for name, hook in members.items():
        if isinstance(hook, Mapping) and "priority" in hook:
            _check_priority(walk, hook["priority"], join(name, "priority"))
        # A hook of another kind may write other files.
        kind = built.get(name)
        writes = isinstance(kind, type) and issubclass(kind, CheckpointHook)
        template = hook.get("filename_tmpl") if writes else None
        if isinstance(template, str) and not ("{}" in template and template.endswith(".pth")):
            walk.problems.add(
                join(name, "filename_tmpl"),
                f"got {template!r}; expected {{}} for the number and .pth at the end, such as "
                "'epoch_{}.pth', or checkpoints overwrite each other and are not found again",
            )


def _is_misspelt(walk: Walk, name: str, hook: Any) -> bool:
    """Whether a hook's name is that of one of mmengine's hooks, misspelt.

    It is not if the hook has a type of its own, which does something else.
    """
    meant = near_misses(name, MMENGINE_HOOKS)
    if not meant or not isinstance(hook, Mapping) or "type" not in hook:
        return bool(meant)
    kind = hook["type"]
    if isinstance(kind, str):
        kind = find(kind, HOOKS, hook.get("_scope_") or walk.scope)
    replaces = isinstance(kind, type) and issubclass(kind, MMENGINE_HOOKS[meant[0]])
    return replaces and is_of_project(kind)


def _check_priority(walk: Walk, value: Any, path: str) -> None:
    try:
        get_priority(value)
    except (KeyError, TypeError, ValueError):
        names = ", ".join(member.name for member in Priority)
        walk.problems.add(
            path, f"got {value!r}; expected one of {names}, or a number from 0 to 100"
        )


def check_schedulers(walk: Walk, value: Any, path: str) -> None:
    """Checks schedulers: one, a list, or a dict of lists by the name of the optimiser."""
    if isinstance(value, Mapping) and "type" not in value:
        for key, part in value.items():
            check_schedulers(walk, part, join(path, key))
        return
    given = {"optimizer", "epoch_length", "end"}
    walk.component(value, path, Place(PARAM_SCHEDULERS, given, extra={"convert_to_iter_based"}))


def check_visualizer(walk: Walk, value: Any, path: str) -> None:
    """Checks the visualizer, whose name and folder the runner chooses."""
    walk.component(value, path, Place(VISUALIZERS, given={"name", "save_dir"}))
    backends = value.get("vis_backends") if isinstance(value, Mapping) else None
    for index, backend in enumerate(backends if isinstance(backends, (list, tuple)) else ()):
        kind = backend.get("type") if isinstance(backend, Mapping) else None
        # A name, with or without a scope, or a class.
        name = getattr(kind, "__name__", str(kind)).rpartition(".")[2]
        package = LOGGERS.get(name)
        if package is not None and find_spec(package) is None:
            missing = missing_optional(package, name, extra=package)
            walk.problems.add(join(path, f"vis_backends.{index}"), missing)


def check_log_processor(walk: Walk, value: Any, path: str) -> None:
    """Checks the processor of logs."""
    walk.component(value, path, Place(LOG_PROCESSORS, default=LogProcessor))
    pattern = value.get("mean_pattern") if isinstance(value, Mapping) else None
    if isinstance(pattern, str):
        try:
            re.compile(pattern)
        except re.error as error:
            walk.problems.add(
                join(path, "mean_pattern"),
                f"got {pattern!r}; expected a regular expression, but: {error}",
            )


def check_model_wrapper(walk: Walk, value: Any, path: str) -> None:
    """Checks the wrapper for several ranks."""
    given = {"module", "device_ids"}
    walk.component(value, path, Place(MODEL_WRAPPERS, given, default="MMDistributedDataParallel"))


def check_strategy(walk: Walk, value: Any, path: str) -> None:
    """Checks the strategy of mmengine's FlexibleRunner, which gives it the run's settings."""
    given = {"work_dir", "experiment_name", "env_kwargs", "log_kwargs", "auto_scale_lr"}
    walk.component(value, path, Place(STRATEGIES, given))


def check_plain(walk: Walk, value: Any, path: str) -> None:
    """Checks a dict that the runner reads by itself, and those in it."""
    if path == "compile" and isinstance(value, bool):
        return
    if not isinstance(value, Mapping):
        walk.problems.add(path, f"got {value!r}; expected a dict")
        return
    takes = read_by_runner(path)
    walk.keys(value, path, path, takes)
    for key, member in value.items():
        inner = join(path, key)
        if inner in ("env_cfg.mp_cfg", "env_cfg.dist_cfg") and member is not None:
            check_plain(walk, member, inner)
        else:
            walk.value(member, inner, takes.get(key, Argument()))


def read_by_runner(path: str) -> Mapping[str, Argument]:
    """Returns the keys of a dict that mmengine's runner reads by itself."""
    functions: dict[str, tuple[Callable, ...]] = {
        "randomness": (Runner.set_randomness,),
        "compile": (torch.compile,),
        "env_cfg.mp_cfg": (set_multi_processing,),
        "env_cfg.dist_cfg": (init_dist, init_process_group),
    }
    set_by_runner = ("self", "model", "distributed", "launcher")
    names = {
        "env_cfg": keys_read(Runner.setup_env, "env_cfg"),
        "auto_scale_lr": keys_read(Runner.scale_lr, "auto_scale_lr"),
        # An argument of mmengine's initialisation by slurm alone.
        "env_cfg.dist_cfg": {"port"},
    }
    known = {name: Argument() for name in names.get(path, ())}
    for function in functions.get(path, ()):
        known |= arguments_of(function).known
    known |= {name: hint for name, hint in ANNOTATIONS.items() if name in known}
    return {name: value for name, value in known.items() if name not in set_by_runner}


CHECKS: dict[str, Callable[[Walk, Any, str], None]] = {
    "model": check_model,
    "train_dataloader": Walk.dataloader,
    "val_dataloader": Walk.dataloader,
    "test_dataloader": Walk.dataloader,
    "train_cfg": check_loop,
    "val_cfg": check_loop,
    "test_cfg": check_loop,
    "optim_wrapper": check_optim_wrapper,
    "param_scheduler": check_schedulers,
    "val_evaluator": check_evaluator,
    "test_evaluator": check_evaluator,
    "default_hooks": check_hooks,
    "custom_hooks": check_hooks,
    "visualizer": check_visualizer,
    "log_processor": check_log_processor,
    "model_wrapper_cfg": check_model_wrapper,
    "strategy": check_strategy,
    "env_cfg": check_plain,
    "randomness": check_plain,
    "auto_scale_lr": check_plain,
    "compile": check_plain,
}
"""The check of each section."""

"""Comparison of two configs: of the networks that they describe, and of what changes a run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import MODELS

NETWORKS = ("backbone", "neck", "head", "predictor", "teacher", "decode_head", "auxiliary_head")
"""Entries of ``model`` that compute what a checkpoint's weights are for."""
TRAINING_ONLY = (
    "compile",
    "drop",
    "frozen",
    "init",
    "loss",
    "norm_eval",
    "out_type",
    "pretrained",
    "sampler",
    "train",
    "with_cp",
    "zero_init",
)
"""Begin the options that change how a network is trained, not what it computes from its weights."""
RESIZED = ("img_size",)
"""Options that a ViT follows by resizing its position embeddings."""

SECTIONS = (
    "model",
    "optim_wrapper",
    "auto_scale_lr",
    "param_scheduler",
    "train_cfg",
    "train_dataloader",
    "default_hooks",
    "custom_hooks",
)
"""Entries of a config that change what a run computes."""
SPEED_ONLY = (
    "num_workers",
    "persistent_workers",
    "prefetch_factor",
    "pin_memory",
    "logger",
    "runtime_info",
)
"""Options in them that do not."""


def config_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists what differs in two configs and changes what a run computes.

    Args:
        then: Config in a checkpoint, as :func:`~mmdino.utils.config_text.literal_config` reads it.
        now: Config of a run, read so too.

    Returns:
        Such as ``optim_wrapper.optimizer.lr is 0.1, was 0.2``.
    """
    return [change for name in SECTIONS for change in _changes(name, then.get(name), now.get(name))]


def _changes(path: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return [
            change
            for name in (old | new)
            if name not in SPEED_ONLY
            for change in _changes(f"{path}.{name}", old.get(name), new.get(name))
        ]
    return [] if old == new else [f"{path} is {new!r:.80}, was {old!r:.80}"]


def network_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists the options of networks in which two configs of a model differ.

    An option that one of them leaves out counts with the default of the class. What only changes
    the training, such as dropout, is left out.

    Args:
        then: ``model`` of the config in a checkpoint.
        now: ``model`` of the config of a run.

    Returns:
        Such as ``model.backbone.arch.num_heads is 3, 6 in the checkpoint``.
    """
    differences = []
    for name in NETWORKS:
        old, new = then.get(name), now.get(name)
        # Where one has no such part, the tensors say so.
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            differences += _differences(f"model.{name}", old, new)
    return differences


def _differences(path: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        old, new = _complete(old), _complete(new)
        # An old name of a class is no difference; another class has other tensors.
        names = sorted((old.keys() & new.keys()) - {"type"})
        return [
            difference
            for name in names
            if not str(name).startswith(TRAINING_ONLY) and name not in RESIZED
            for difference in _differences(f"{path}.{name}", old[name], new[name])
        ]
    if _plain(old) == _plain(new):
        return []
    return [f"{path} is {new!r}, {old!r} in the checkpoint"]


def _complete(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the defaults of the class that a config names, and spells out an architecture's name."""
    kind = cfg.get("type")
    with MODELS.switch_scope_and_registry(None) as models:
        cls = models.get(kind) if isinstance(kind, str) else kind
    if not inspect.isclass(cls):
        return dict(cfg)
    defaults = {
        name: parameter.default
        for base in reversed(cls.__mro__)
        if "__init__" in vars(base)
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    complete = defaults | dict(cfg)
    zoo, arch = getattr(cls, "arch_zoo", {}), complete.get("arch")
    if isinstance(arch, str) and arch.lower() in zoo:
        complete["arch"] = zoo[arch.lower()]
    return complete


def _plain(value: Any) -> Any:
    """Makes tuples lists, as in the text of a config."""
    if isinstance(value, (list, tuple)):
        return [_plain(element) for element in value]
    return value

"""Which checkpoints mmengine reads restricted: those of runs in which mmdino takes part.

Some releases of mmengine fall back to unrestricted unpickling, which runs any code that a file asks
for. Its loaders know only the path of a file, so who asks for it is found on the call stack.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any
from weakref import WeakSet

from mmengine.runner import CheckpointLoader, FlexibleRunner, Runner
from torch import nn

from mmdino.weights.files import read_checkpoint

PACKAGE = "mmdino"
MODEL_ZOOS = ("modelzoo://", "torchvision://", "open-mmlab://", "openmmlab://", "mmcls://")
"""Schemes of fixed lists of files in mmengine and torchvision."""

_runners: WeakSet[Runner | FlexibleRunner] = WeakSet()
"""Runners that have built a component of mmdino."""
_restrict_all = False


@functools.cache
def restrict_own_loading() -> None:
    """Makes mmengine read checkpoints with :func:`read_checkpoint` where mmdino takes part, once.

    That is where a runner has built a component of mmdino, or a module that contains one is loaded;
    all other checkpoints are loaded as before. Files of mmengine's and torchvision's model zoos are
    always loaded as before.
    """
    for scheme, loader in list(CheckpointLoader._schemes.items()):
        if scheme not in MODEL_ZOOS:
            CheckpointLoader.register_scheme(scheme, _restricted(loader), force=True)


def restrict_loading() -> None:
    """Makes mmengine read all checkpoints of the process with :func:`read_checkpoint`.

    The tools call it, whose process has no other use.
    """
    global _restrict_all
    restrict_own_loading()
    _restrict_all = True


def note_component() -> None:
    """Records that the runner that is being executed, if any, uses a component of mmdino."""
    for frame in _stack():
        owner = frame.f_locals.get("self")
        if isinstance(owner, Runner | FlexibleRunner):
            _runners.add(owner)
            return


def _restricted(loader: Callable) -> Callable:
    # mmengine logs the loader's name.
    @functools.wraps(loader)
    def load(filename: str, map_location: Any = None, **options: Any) -> Any:
        if _restrict_all or any(map(_takes_part, _stack())):
            # Ignores map_location: models and optimisers copy the tensors to their device.
            return _without_code(read_checkpoint(filename))
        return loader(filename, map_location, **options)

    return load


def _without_code(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Drops a config that mmengine would execute on resuming; it writes none there itself."""
    meta = checkpoint.get("meta")
    if isinstance(meta, dict):
        meta.pop("config", None)
    return checkpoint


def _stack() -> Iterator[FrameType]:
    frame = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _takes_part(frame: FrameType) -> bool:
    """Whether a function that is being executed is of, or loads, something of mmdino."""
    owner = frame.f_locals.get("self")
    if isinstance(owner, Runner | FlexibleRunner):
        return owner in _runners or _contains(getattr(owner, "model", None))
    loaded = None
    if frame.f_globals.get("__name__", "").startswith("mmengine."):
        loaded = frame.f_locals.get("model", frame.f_locals.get("module"))
    return _contains(owner) or _contains(loaded)


def _contains(value: Any) -> bool:
    values = value.modules() if isinstance(value, nn.Module) else [value]
    return any(
        base.__module__.partition(".")[0] == PACKAGE
        for element in values
        for base in type(element).__mro__
    )

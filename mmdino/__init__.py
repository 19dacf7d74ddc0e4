"""DINO self-supervised pretraining as a plugin for OpenMMLab's mmpretrain."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmdino.shipped import add_to_openmmlab
from mmdino.utils.dependencies import check_dependencies
from mmdino.utils.greetings import silence_greetings
from mmdino.version import __version__

if TYPE_CHECKING:
    from mmdino.evaluation.embedding import embed
    from mmdino.evaluation.pretrained_backbone import load_backbone
    from mmdino.folder_recipe.pretraining import pretrain

check_dependencies()
silence_greetings()
add_to_openmmlab()

__all__ = ["__version__", "embed", "load_backbone", "pretrain"]

_HOMES = {
    "embed": "mmdino.evaluation.embedding",
    "load_backbone": "mmdino.evaluation.pretrained_backbone",
    "pretrain": "mmdino.folder_recipe.pretraining",
}
"""Modules of the functions that are imported when they are first asked for: they need torch."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

"""How the dicts of a config become objects, by where they stand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any

from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    FUNCTIONS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    TRANSFORMS,
    VISBACKENDS,
    WEIGHT_INITIALIZERS,
    Registry,
)

from mmdino.datasets.transforms import MultiCropTransform
from mmdino.datasets.transforms.views.group import ViewGroup
from mmdino.models import VisionTransformer
from mmdino.weights.specs import VIT_ARCHS

PROJECTS = ("mmdino", "mmengine", "mmcv", "mmpretrain", "mmseg", "torch")
"""Packages whose classes are known to hand on a config as it is. Another project's class may take
keys out of it before."""
WHOLE = ("backbone", "neck", "head", "decode_head", "data_preprocessor", "pipeline")
"""Arguments that classes of these projects build from their config alone, so that it must have all
that is required."""
REGISTRIES: dict[str, Registry] = {
    "init_cfg": WEIGHT_INITIALIZERS,
    "override": WEIGHT_INITIALIZERS,
    "transforms": TRANSFORMS,
    "policies": TRANSFORMS,
    "dataset": DATASETS,
    "datasets": DATASETS,
    "sampler": DATA_SAMPLERS,
    "batch_sampler": DATA_SAMPLERS,
    "collate_fn": FUNCTIONS,
    "worker_init_fn": FUNCTIONS,
    "metrics": METRICS,
    "optimizer": OPTIMIZERS,
    "vis_backends": VISBACKENDS,
    "data_preprocessor": MODELS,
}
"""Registry of what is built from an argument, by its name; by default that of the owner."""
EXTRA_KEYS = {
    "norm_cfg": {"requires_grad"},
    "init_cfg": {"override"},
    "override": {"name"},
    "policies": {"magnitude_key"},  # mmpretrain's RandAugment, for old configs
}
"""Keys that are taken out of the config of an argument before anything is built from it."""
PLAIN: dict[tuple[type, str], Collection[str]] = {
    (MultiCropTransform, "views"): tuple(option.name for option in fields(ViewGroup)),
    (VisionTransformer, "arch"): tuple(VIT_ARCHS["base"]),
}
"""Keys of dicts without a type that our classes take."""


def is_of_project(obj: Any) -> bool:
    """Whether a class is of a project that is known to hand on a config as it is.

    A function is of none: it may stand for a class whose packages are not installed.
    """
    module = getattr(obj, "__module__", None) or ""
    return isinstance(obj, type) and module.split(".")[0] in PROJECTS


@dataclass
class Place:
    """How a dict at a place of the config becomes an object."""

    registry: Registry
    given: Collection[str] = ()
    """Arguments that whoever builds it adds."""
    extra: Collection[str] = ()
    """Keys that whoever builds it takes out before."""
    default: Any = None
    """Its type where the dict has none."""
    is_whole: bool = True
    """Whether the config must have all that is required."""
    is_strict: bool = True
    """Whether all of its keys are arguments."""

"""Backbones of any class of mmpretrain, built as the config in a checkpoint says.

A config in a file can name anything to call. Here it names a class of backbones and layers of a
list, its values are literals, and the network is first built without memory for its tensors, which
must be those of the file.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import mmpretrain.models  # noqa: F401  # registers the backbones
import torch
from mmengine.registry import MODELS
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import mmdino.registry  # noqa: F401
from mmdino.utils.config_text import literal_config
from mmdino.utils.registered import registered
from mmdino.weights.matching import compare
from mmdino.weights.specs import RESNET, VIT_TYPES, json_dict

FROZEN = "mmdino.FrozenBackbone"
SCOPES = ("mmpretrain", "mmengine")
"""Scopes of a name without one; the second has what a user's own module registers."""
OF_MMPRETRAIN = "mmpretrain.models.backbones."
FROM_ELSEWHERE = ("TIMMBackbone",)
"""Backbones of mmpretrain whose options name files and models to fetch."""
IGNORED = ("_scope_", "init_cfg", "pretrained", "frozen_stages", "with_cp", "norm_eval")
"""Entries that change how a network is found or trained, not what it computes."""
RESNET_TYPES = (RESNET, "ResNet", "mmpretrain.ResNet")
SHOWN = (
    *("type", "depth", "in_channels", "stem_channels", "base_channels", "out_indices"),
    *("norm_cfg", "zero_init_residual", "drop_path_rate"),
)
"""Options of a ResNet that its tensors show, or that do not change what it computes."""
PLAIN = {
    "num_stages": 4,
    "strides": [1, 2, 2, 2],
    "dilations": [1, 1, 1, 1],
    "style": "pytorch",
    "deep_stem": False,
    "avg_down": False,
}
"""Options that change it, with what they are in a ResNet that is inferred from tensors."""
LAYERS = {
    *("BN", "BN1d", "BN2d", "SyncBN", "GN", "IN", "LN", "LN2d", "LayerNorm", "GRN"),
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "GELU", "SiLU", "Swish", "Mish"),
    *("HSwish", "HSigmoid", "Sigmoid", "Hardswish", "Tanh", "Conv", "Conv2d", "Linear"),
}
"""Layers that a config in a file may name."""
COUNTS = ("depth", "layer", "block", "stage")
"""What the names of numbers of layers contain."""


class _WithoutMemory(TorchFunctionMode):
    """Makes tensors without memory, but for the few numbers that constructors read from ranges."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones, torch.full, torch.randn, torch.rand):
            kwargs["device"] = "meta"
        elif func is torch.arange:
            kwargs.setdefault("device", "meta")
        return func(*args, **kwargs)


def stored_backbone(meta: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the config of the backbone in ``meta`` of a checkpoint or an extracted file, or None.

    That is the trained one; one of another class than a ViT is found too.
    """
    if "backbone" in meta:
        backbone = json_dict(meta["backbone"])
    else:
        text = meta.get("cfg")
        model = literal_config(text).get("model") if isinstance(text, str) else None
        backbone = model.get("backbone") if isinstance(model, Mapping) else None
    if isinstance(backbone, Mapping) and backbone.get("type") == FROZEN:
        backbone = backbone.get("backbone")
    is_config = isinstance(backbone, Mapping) and isinstance(backbone.get("type"), str)
    return dict(backbone) if is_config else None


def shown_by_tensors(stored: Mapping[str, Any]) -> bool:
    """Whether the tensors alone say what a backbone computes, as those of a plain ResNet do.

    Args:
        stored: Config of the backbone.
    """
    if stored["type"] in VIT_TYPES:
        return True
    norm = stored.get("norm_cfg") or {}
    return (
        stored["type"] in RESNET_TYPES
        and set(stored) <= {*SHOWN, *PLAIN, *IGNORED}
        and all(stored[name] == value for name, value in PLAIN.items() if name in stored)
        and isinstance(norm, Mapping)
        and norm.get("type", "BN") in ("BN", "SyncBN")
        and set(norm) <= {"type", "requires_grad"}
    )


def backbone_class(kind: str) -> tuple[str, type[nn.Module]] | None:
    """Returns the class of backbones that a config names, or None if it names none that is known.

    Nothing is imported: a backbone of another package is known if that has registered it.

    Args:
        kind: Type in a config, such as ``"SwinTransformerV2"`` or ``"mmdino.ResNet"``, or the path
            of a class of mmpretrain.

    Returns:
        Its name with the scope, and the class.
    """
    found = registered(MODELS, kind, SCOPES)
    if found is None or not inspect.isclass(found[1]) or found[1].__name__ in FROM_ELSEWHERE:
        return None
    is_backbone = issubclass(found[1], BaseBackbone) or found[1].__module__.startswith(
        OF_MMPRETRAIN
    )
    return found if is_backbone else None


def checked_config(
    stored: Mapping[str, Any], state_dict: Mapping[str, Tensor], path: str
) -> dict[str, Any]:
    """Returns the config of a backbone without what is for training, after checking it.

    Args:
        stored: Config of the backbone in a file.
        state_dict: The tensors of the backbone.
        path: The file, for messages.

    Raises:
        ValueError: If the config names something else than a backbone and its layers, asks for a
            network beyond the file, or for one of other tensors.
    """
    kind, found = stored["type"], backbone_class(stored["type"])
    if found is None:
        raise ValueError(
            f"The backbone of {path} is a {kind!r:.80}, which is not built from the config in a "
            f"file. Those of mmpretrain are, but {', '.join(FROM_ELSEWHERE)}, and those of other "
            "packages once they are imported. Evaluate the run with mmdino test and its config, "
            "or build the backbone in Python."
        )
    config = _without_training(stored)
    for name, value in _entries(config):
        if name == "type" and value is not kind and value not in LAYERS:
            raise ValueError(
                f"The config of the {kind} in {path} names the layer {repr(value)[:80]}, and the "
                f"tools build only known ones: {', '.join(sorted(LAYERS))}. Build the backbone "
                "from its config in Python, and load its weights."
            )
        counts = value if isinstance(value, list) else [value]
        if any(part in name for part in COUNTS) and any(
            isinstance(count, int) and count > len(state_dict) for count in counts
        ):
            raise ValueError(
                f"The config of the {kind} in {path} has {name}={repr(value)[:80]}, but the file "
                f"has {len(state_dict)} tensors. The file is damaged."
            )
    config["type"], cls = found
    _require_tensors(cls, config, state_dict, path)
    return config


def _require_tensors(
    cls: type[nn.Module], config: Mapping[str, Any], state_dict: Mapping[str, Tensor], path: str
) -> None:
    """Checks that the network of a config has the tensors of a file, without memory for them."""
    options = {name: value for name, value in config.items() if name != "type"}
    try:
        with _WithoutMemory():
            expected = cls(**copy.deepcopy(options)).state_dict()
    # Constructors raise whatever they like of arguments that they do not expect.
    except (
        AssertionError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"The {config['type']} of {path} cannot be built as the config in the file says: "
            f"{type(error).__name__}: {error}"
        ) from error
    match = compare(state_dict, expected)
    if not match.complete or match.unexpected:
        raise ValueError(
            f"The tensors of {path} are not those of the {config['type']} that the config in the "
            f"file says: {match}."
        )


def _without_training(config: Any) -> Any:
    """Returns a config without entries that change how a network is trained only."""
    if isinstance(config, Mapping):
        return {
            str(name): _without_training(value)
            for name, value in config.items()
            if name not in IGNORED
        }
    return [_without_training(each) for each in config] if isinstance(config, list) else config


def _entries(config: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yields all entries of a config, those of inner ones too."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from _entries(value, key)
    elif isinstance(config, list):
        yield name, config
        for value in config:
            yield from _entries(value, name)
    else:
        yield name, config

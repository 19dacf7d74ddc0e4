"""The config of a projection head, inferred from its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def head_config(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the config of a ``DINOHead`` with the given tensors (``mlp.0.weight``, ...).

    Raises:
        ValueError: If a required tensor is missing.
    """
    names = [
        name
        for name, tensor in state_dict.items()
        if name.startswith("mlp.") and name.endswith(".weight") and tensor.dim() == 2
    ]
    plain = "last_layer.weight" in state_dict
    rows = state_dict.get("last_layer.weight" if plain else "last_layer.weight_v")
    if not {"mlp.weight", "mlp.0.weight"} & {*names} or rows is None:
        raise ValueError(
            "This is not a projection head, which has mlp.* and last_layer.weight_v: it has "
            f"{', '.join(list(state_dict)[:5]) or 'no tensors'}."
        )
    first = state_dict["mlp.weight" if "mlp.weight" in names else "mlp.0.weight"]
    out_channels, bottleneck_channels = rows.shape
    config = {
        "type": "mmdino.DINOHead",
        "in_channels": first.shape[1],
        "out_channels": out_channels,
        "num_layers": len(names),
        "bottleneck_channels": bottleneck_channels,
        "use_bn": any(name.endswith("running_mean") for name in state_dict),
    }
    if len(names) > 1:
        config["hidden_channels"] = len(first)
    if plain:
        # The last layer of DINOv3.
        config |= {"weight_norm": False, "norm_last_layer": False}
    return config

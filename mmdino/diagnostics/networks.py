"""The networks that are diagnosed side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.device import get_device
from torch import nn

from mmdino.evaluation.attention import require_attention
from mmdino.evaluation.bank_extraction import network_sha256
from mmdino.evaluation.image_input import IMAGENET, Statistics
from mmdino.evaluation.stored_input import stored_statistics
from mmdino.weights.networks import Network, backbone_weights, build_backbone, untrained_like


@dataclass(frozen=True, eq=False)
class Diagnosed:
    """A ViT with its name.

    Attributes:
        name: Name in the figures.
        origin: Its file, and which network of it.
        backbone: The network in eval mode.
        sha256: Hash of its weights and of options that no weight has.
        statistics: By which its images are normalised.
    """

    name: str
    origin: str
    backbone: nn.Module
    sha256: str
    statistics: Statistics = IMAGENET


def load_networks(
    checkpoints: Sequence[str],
    names: Sequence[str],
    network: Network = "teacher",
    num_heads: int | None = None,
    untrained: int | None = None,
) -> list[Diagnosed]:
    """Loads the ViTs of checkpoints.

    Args:
        checkpoints: What :func:`mmdino.weights.networks.backbone_weights` reads.
        names: A name for each.
        network: Which of the two, where a file has both.
        num_heads: Number of heads, if neither a file nor the width determines it.
        untrained: Seed of a network like the first one, not trained, that is added; None for none.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If a network has no attention or does not read colour images.
    """
    device = torch.device(get_device())
    loaded = []
    for name, checkpoint in zip(names, checkpoints, strict=True):
        weights = backbone_weights(checkpoint, network, num_heads=num_heads)
        backbone = build_backbone(weights.config, weights.state_dict, str(checkpoint))
        try:
            require_attention(backbone)
        except ValueError as error:
            raise ValueError(f"{checkpoint}: {error}") from error
        # Printed since it names what was guessed, such as the number of heads.
        print(f"{name}: {checkpoint}, {weights}")
        origin = f"{weights.network} of {checkpoint}"
        statistics = stored_statistics(weights.meta)
        loaded.append(_diagnosed(name, origin, backbone.to(device), statistics))
    if untrained is not None:
        fresh = untrained_like(loaded[0].backbone, untrained)
        origin = f"untrained, architecture of {loaded[0].origin}"
        loaded.append(
            _diagnosed(f"untrained, seed {untrained}", origin, fresh, loaded[0].statistics)
        )
    return loaded


def _diagnosed(name: str, origin: str, backbone: nn.Module, statistics: Statistics) -> Diagnosed:
    return Diagnosed(name, origin, backbone, network_sha256(backbone), statistics)


def network_names(checkpoints: Sequence[str], given: Sequence[str] | None) -> list[str]:
    """Returns the names of networks: those given, or the stems of their files.

    Files of one stem get their folder in front.

    Args:
        checkpoints: Their files.
        given: A name for each, or None.

    Raises:
        ValueError: If there are not as many names as files, or two are the same.
    """
    paths = [Path(checkpoint) for checkpoint in checkpoints]
    if given is None:
        stems = Counter(path.stem for path in paths)
        names = [
            path.stem if stems[path.stem] == 1 else f"{path.parent.name}/{path.stem}"
            for path in paths
        ]
    else:
        names = list(given)
    if len(names) != len(paths):
        raise ValueError(
            f"{len(names)} name(s) were given for {len(paths)} checkpoint(s): give --names one for "
            "each, in their order."
        )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"Two networks would have the name {repeated[0]!r}: give --names a different one for "
            "each checkpoint."
        )
    return names

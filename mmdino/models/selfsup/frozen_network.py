"""A network that a student learns from and that training leaves alone."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmdino.models.selfsup.base import build_networks
from mmdino.weights.checks import require_weights, state_dict_of
from mmdino.weights.files import map_checkpoint
from mmdino.weights.layouts.renaming import strip_prefix
from mmdino.weights.matching import compare
from mmdino.weights.networks import Network
from mmdino.weights.pretrained import load_pretrained

CHUNK = 2**20
"""Bytes of a file that are hashed at a time."""


class FrozenNetwork(nn.Module):
    """Another network than the student, with the weights of a file.

    It is in eval mode, gets no gradient, and its parts are no submodules of this module: state
    dicts, optimisers and distributed wrappers do not see them. Each rank holds the whole network.
    The state dict has the SHA-256 of the file in place of the weights, so that a run is continued
    with the same file only. Its path is in the config that a checkpoint has.

    Args:
        name: Its place in the config, such as "model.frozen_teacher", for messages.
        parts: Configs of its parts by name: ``backbone``, and heads if there are any.
        checkpoint: Path of the file. The backbone is read from any file that
            :func:`load_pretrained` reads, a part like ``head`` from a checkpoint of this project,
            where it is the teacher's (``teacher.head.*``). It is read by :meth:`init_weights`, so
            that an evaluation needs no file.
        if_missing: What to do if the file lacks a part, for the message.
        network: Which backbone to take from a file with a student and a teacher.

    Attributes:
        sha256: Buffer (32,), uint8, of the file that the run was trained with; 0 before.

    Raises:
        ValueError: If there is no file or a part has an ``init_cfg``; from :meth:`init_weights`, if
            the file does not match the parts; from either loading, if the files differ.
        FileNotFoundError: From :meth:`init_weights`, if the file does not exist.
    """

    def __init__(
        self,
        name: str,
        parts: Mapping[str, dict],
        checkpoint: str | Path | None,
        if_missing: str = "",
        network: Network = "teacher",
    ) -> None:
        super().__init__()
        if not isinstance(checkpoint, (str, Path)) or not str(checkpoint):
            raise ValueError(
                f"{name} got checkpoint={checkpoint!r}, but a frozen network is never trained: set "
                f"{name}.checkpoint to the file that has its weights."
            )
        for part, cfg in parts.items():
            if cfg.get("init_cfg") is not None:
                raise ValueError(
                    f"{name}.{part} has an init_cfg, but its weights are those of {name}."
                    "checkpoint. Leave init_cfg out."
                )
        self.name = name
        self.path = Path(checkpoint).expanduser()
        self.if_missing = if_missing
        self.is_loaded = False
        self.which = network
        networks = build_networks(copy.deepcopy(dict(parts))).requires_grad_(False)
        networks.eval()
        # Within a list, which modules do not look into.
        self._held = [networks]
        self.register_buffer("sha256", torch.zeros(32, dtype=torch.uint8))

    @property
    def network(self) -> nn.ModuleDict:
        """The parts by name, whether loaded or not."""
        return self._held[0]

    def for_images(self, images: Tensor) -> nn.ModuleDict:
        """Returns the parts by name, on the device and in the precision of the images.

        Raises:
            ValueError: If the weights have not been loaded, or something has set a part to train.
        """
        if not self.is_loaded:
            raise ValueError(
                f"{self.name} has no weights yet. Call model.init_weights(), as a Runner does "
                "before it trains."
            )
        require_frozen(self.network, self.name)
        first = next(self.network.parameters())
        if (first.device, first.dtype) != (images.device, images.dtype):
            self.network.to(images.device, images.dtype)
        return self.network

    def init_weights(self) -> None:
        """Loads the weights from the file."""
        found = file_sha256(self.path, f"{self.name}.checkpoint")
        if bool(self.sha256.any()):
            self._require_same(self.sha256, found)
        load_parts(self.network, self.path, self.name, self.if_missing, self.which)
        self.sha256.copy_(found)
        self.is_loaded = True
        print_log(f"{self.name}: {self.path}, SHA-256 {_hex(found)}.", logger="current")

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        saved = state_dict.get(f"{prefix}sha256")
        if self.is_loaded and saved is not None:
            self._require_same(saved, self.sha256)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _require_same(self, saved: Tensor, own: Tensor) -> None:
        if saved.tolist() != own.tolist():
            raise ValueError(
                f"The checkpoint was trained with another file as {self.name}: SHA-256 "
                f"{_hex(saved)}, but {self.path} has {_hex(own)}. Set {self.name}.checkpoint to "
                "the file of that run, whose path is in the config of the checkpoint (meta.cfg)."
            )


def require_frozen(network: nn.Module, name: str) -> None:
    """Checks that a frozen network is in eval mode and nothing in it is trained.

    Args:
        network: The network.
        name: Its place in the config.

    Raises:
        ValueError: If a module is in train mode, or a parameter requires a gradient.
    """
    trained = [path for path, p in network.named_parameters() if p.requires_grad]
    in_training = [path for path, module in network.named_modules() if module.training]
    if trained or in_training:
        what = f"{trained[0]} requires a gradient" if trained else "it is in train mode"
        raise ValueError(
            f"{name} is a frozen network, but {what}, so that its outputs would change. Leave it "
            "as the model made it, in eval mode and without gradients, and out of the optimiser."
        )


def load_parts(
    parts: Mapping[str, nn.Module],
    path: Path,
    name: str,
    if_missing: str = "",
    network: Network = "teacher",
) -> None:
    """Loads the parts of a network from a file; all tensors must match.

    Args:
        parts: The parts by name, as in :class:`FrozenNetwork`.
        path: The file.
        name: Place of the network in the config.
        if_missing: What to do if the file lacks a part.
        network: Which backbone to take from a file with a student and a teacher.

    Raises:
        ValueError: If the file does not match.
    """
    heads = {part: module for part, module in parts.items() if part != "backbone"}
    if heads:
        content = map_checkpoint(path)
        inner = content.get("state_dict", content)
        tensors = state_dict_of(inner, str(path), strict=inner is not content)
        for part, module in heads.items():
            _load_head(module, tensors, part, path, name, if_missing)
    load_pretrained(parts["backbone"], {"checkpoint": str(path), "network": network})


def _load_head(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    part: str,
    path: Path,
    name: str,
    if_missing: str,
) -> None:
    prefix = f"teacher.{part}."
    found = strip_prefix(tensors, prefix)
    if not found:
        raise ValueError(
            f"{path} has no {prefix}*, the weights of {name}.{part}. {if_missing}".rstrip()
        )
    require_weights(found, str(path))
    match = compare(found, module.state_dict())
    if not match.complete or match.unexpected:
        raise ValueError(
            f"{prefix}* of {path} does not match {name}.{part}: {match}. Set {name}.{part} to the "
            f"{part} of the config that the checkpoint was trained with."
        )
    module.load_state_dict(found)


def file_sha256(path: Path, name: str) -> Tensor:
    """Returns the SHA-256 of a file, uint8 (32,).

    Args:
        path: The file.
        name: What it is in the config.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{name}={str(path)!r} is no file. Train it first, or set it to the checkpoint that "
            "has the weights."
        )
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return torch.tensor(list(digest.digest()), dtype=torch.uint8)


def _hex(sha256: Tensor) -> str:
    return bytes(sha256.tolist()).hex()

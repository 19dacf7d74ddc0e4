"""Reading files of weights without running what they hold, and writing them whole or not at all."""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.runner import CheckpointLoader
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.safe_pickle import allow_checkpoint_classes

DAMAGE = (
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    AssertionError,
    struct.error,
)
"""What torch raises where a pickle or its archive ends early or has a wrong byte."""
HUGGINGFACE_FILES = ("model.safetensors", "pytorch_model.bin")
ZIP, PICKLE = b"PK\x03\x04", b"\x80"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a file of weights to the CPU.

    Pickles are loaded with torch's restricted unpickler: tensors, plain values, what mmengine keeps
    in a checkpoint, and the ``argparse.Namespace`` of the authors' files. Nothing in them is run.

    Args:
        path: A ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file, known by its content; the
            folder of a Hugging Face model; or the http address of a file, which is kept in torch's
            cache.

    Returns:
        The dict in the file. What comes from safetensors or from a folder has the form of an
        extracted file: ``state_dict``, and ``meta`` with strings, where a folder's ``config.json``
        is under ``huggingface``.

    Raises:
        FileNotFoundError: If there is no such file, or no weights in the folder.
        ValueError: If the file is damaged, holds no dict, or asks for any other class.
    """
    path = _local(path)
    if path.is_dir():
        return _read_huggingface_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of weights {str(path)!r}.")
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith((ZIP, PICKLE)):
        return _read_pickle(path)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    raise ValueError(
        f"{path} is no file of weights: it begins with {start!r}, which neither torch nor "
        "safetensors writes. An error page saved in place of the file looks like this; so does a "
        "Git LFS pointer. Download it again."
    )


def restrict_loading() -> None:
    """Makes mmengine's runners read checkpoints as :func:`read_checkpoint` does.

    Some releases of mmengine load a pickle in full where the restricted unpickler refuses it. The
    tools call this; a program that embeds mmdino decides for itself, since it holds for all
    checkpoints of the process.
    """
    CheckpointLoader.register_scheme(["", "http://", "https://"], _load_restricted, force=True)


def _load_restricted(filename: str, map_location: Any = None, **_: Any) -> dict[str, Any]:
    # To the CPU whatever the map_location: models and optimisers take over copies.
    return read_checkpoint(filename)


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes named tensors, as safetensors if the path ends so, else with ``torch.save``.

    The file needs no class to be allowed: ``torch.load(path, weights_only=True)`` takes it, and so
    does ``init_cfg=dict(type="Pretrained", checkpoint=path)`` of mmpretrain and mmseg for a
    ``.pth``.

    Args:
        path: File to write; its folder is made.
        tensors: Tensors by name.
        metadata: What to keep beside them. Without it a ``.pth`` holds the bare dict of tensors,
            with it ``{"state_dict": tensors, "meta": metadata}``.
    """
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    if Path(path).suffix == ".safetensors":
        write_bytes(path, safetensors_bytes(copies, {"format": "pt", **(metadata or {})}))
    else:
        write_pickle(path, {"state_dict": copies, "meta": dict(metadata)} if metadata else copies)


def write_pickle(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes a dict with ``torch.save``, whole or not at all."""
    with atomic_write(path) as partial:
        torch.save(content, partial)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes bytes, whole or not at all."""
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def _local(path: str | Path) -> Path:
    if "://" not in str(path):
        return Path(path)
    address = urlparse(str(path))
    if address.scheme not in ("http", "https"):
        raise ValueError(f"{path} cannot be fetched; give a local path or an http(s) address.")
    # Many addresses end in one name, such as model.safetensors.
    mark = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / f"{mark}_{Path(address.path).name}"
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(str(path), str(cached))
    return cached


def _read_pickle(path: Path) -> dict[str, Any]:
    allow_checkpoint_classes()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+) was not an allowed global", str(error))
        if asked is None:
            raise _damaged(path, error) from error
        raise ValueError(
            f"{path} asks for {asked[1]}, which a file of weights does not need; it was not "
            "loaded. Loading it in full would run whatever its author put there. If you trust it, "
            "load it where it was made and save the tensors alone: "
            "torch.save(model.state_dict(), path)."
        ) from error
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} holds a {type(content).__name__}; a file of weights holds a dict of tensors, "
            "or of dicts of tensors."
        )
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return {"state_dict": tensors, "meta": file.metadata() or {}}
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _read_huggingface_folder(folder: Path) -> dict[str, Any]:
    config = folder / "config.json"
    weights = [folder / name for name in HUGGINGFACE_FILES if (folder / name).is_file()]
    if not config.is_file() or not weights:
        raise FileNotFoundError(
            f"{folder} is a folder without config.json or without {' or '.join(HUGGINGFACE_FILES)}."
            " Give a file of weights, or the folder that save_pretrained wrote (in one piece: "
            "max_shard_size)."
        )
    content = read_checkpoint(weights[0])
    return {
        "state_dict": content.get("state_dict", content),
        "meta": {"huggingface": config.read_text()},
    }


def _damaged(path: Path, error: Exception) -> ValueError:
    lines = str(error).strip().splitlines()
    return ValueError(
        f"{path} is damaged or not whole: {lines[0] if lines else type(error).__name__}. Copy or "
        "download it again."
    )

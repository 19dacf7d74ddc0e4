"""Safe reading and atomic writing of weight files."""

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

READ_ERRORS = (
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    AssertionError,
    struct.error,
)
"""Errors of torch for a truncated or corrupted pickle or archive."""
HUGGINGFACE_FILES = ("model.safetensors", "pytorch_model.bin")
ZIP, PICKLE = b"PK\x03\x04", b"\x80"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a weight file to the CPU.

    Pickles are loaded with torch's restricted unpickler, which executes no code: tensors, plain
    values, the classes in mmengine's checkpoints, and the ``argparse.Namespace`` of the authors'.

    Args:
        path: A ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file, detected by its content; the
            folder of a Hugging Face model; or a URL, downloaded to torch's cache.

    Returns:
        The dict in the file. For safetensors and folders it has ``state_dict`` and ``meta``, a dict
        of strings, with the ``config.json`` of a folder under ``huggingface``.

    Raises:
        FileNotFoundError: If there is no such file, or no weights in the folder.
        ValueError: If the file is corrupted, is not a dict, or contains another class.
    """
    path = _local_path(path)
    if path.is_dir():
        return _read_huggingface_folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"The weight file {str(path)!r} does not exist.")
    with path.open("rb") as file:
        start = file.read(9)
    if start.startswith((ZIP, PICKLE)):
        return _read_pickle(path)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    raise ValueError(
        f"{path} is not a weight file of torch or safetensors: it starts with {start!r}. It may be "
        "a saved error page or a Git LFS pointer. Download it again."
    )


def restrict_loading() -> None:
    """Makes mmengine's runners read checkpoints with :func:`read_checkpoint`.

    Some releases of mmengine fall back to unrestricted unpickling. This affects all checkpoints of
    the process, so only the tools call it, not the import of the package.
    """
    CheckpointLoader.register_scheme(["", "http://", "https://"], _load_restricted, force=True)


def _load_restricted(filename: str, map_location: Any = None, **_: Any) -> dict[str, Any]:
    # Ignores map_location: models and optimisers copy the tensors to their device.
    return read_checkpoint(filename)


def write_tensors(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes named tensors atomically, as safetensors by suffix, else with ``torch.save``.

    ``torch.load(path, weights_only=True)`` reads the ``.pth``, and so does
    ``init_cfg=dict(type="Pretrained", checkpoint=path)`` of mmpretrain and mmseg.

    Args:
        path: File to write; its folder is created.
        tensors: Tensors by name.
        metadata: Strings by name. With them a ``.pth`` contains ``{"state_dict": tensors, "meta":
            metadata}``, without them the dict of tensors.
    """
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    if Path(path).suffix == ".safetensors":
        write_bytes(path, safetensors_bytes(copies, {"format": "pt", **(metadata or {})}))
    else:
        write_pickle(path, {"state_dict": copies, "meta": dict(metadata)} if metadata else copies)


def write_pickle(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes a dict with ``torch.save``, atomically."""
    with atomic_write(path) as partial:
        torch.save(content, partial)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes bytes atomically."""
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def _local_path(path: str | Path) -> Path:
    """Returns a path, or the cached download of a URL."""
    if "://" not in str(path):
        return Path(path)
    address = urlparse(str(path))
    if address.scheme not in ("http", "https"):
        raise ValueError(f"{path} cannot be downloaded: expected a local path or an http(s) URL.")
    # Many URLs end in the same name, such as model.safetensors.
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / f"{digest}_{Path(address.path).name}"
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(str(path), str(cached))
    return cached


def _read_pickle(path: Path) -> dict[str, Any]:
    allow_checkpoint_classes()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        requested = re.search(r"GLOBAL ([\w.]+) was not an allowed global", str(error))
        if requested is None:
            raise _corrupted(path, error) from error
        raise ValueError(
            f"{path} contains {requested[1]}, which weight files do not need; it was not loaded, "
            "since unpickling arbitrary classes can execute code. If you trust the file, load it "
            "where it was made and save only the tensors: torch.save(model.state_dict(), path)."
        ) from error
    except READ_ERRORS as error:
        raise _corrupted(path, error) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} contains a {type(content).__name__}: expected a dict of tensors, or of dicts "
            "of tensors."
        )
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return {"state_dict": tensors, "meta": file.metadata() or {}}
    except SafetensorError as error:
        raise _corrupted(path, error) from error


def _read_huggingface_folder(folder: Path) -> dict[str, Any]:
    config = folder / "config.json"
    weights = [folder / name for name in HUGGINGFACE_FILES if (folder / name).is_file()]
    if not config.is_file() or not weights:
        raise FileNotFoundError(
            f"{folder} is a folder without config.json or without {' or '.join(HUGGINGFACE_FILES)}."
            " Use a weight file, or a folder written by save_pretrained without shards "
            "(max_shard_size)."
        )
    content = read_checkpoint(weights[0])
    return {
        "state_dict": content.get("state_dict", content),
        "meta": {"huggingface": config.read_text()},
    }


def _corrupted(path: Path, error: Exception) -> ValueError:
    lines = str(error).strip().splitlines()
    return ValueError(
        f"{path} is corrupted or truncated: {lines[0] if lines else type(error).__name__}. Copy or "
        "download it again."
    )

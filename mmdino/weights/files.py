"""Safe reading and atomic writing of weight files."""

from __future__ import annotations

import io
import json
import mmap
import os
import pickle
import pickletools
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.printable import printable
from mmdino.utils.safe_pickle import checkpoint_classes_allowed
from mmdino.weights.archive import OPEN_ERRORS as ARCHIVE_ERRORS
from mmdino.weights.archive import is_torchscript, read_torchscript, verify_archive
from mmdino.weights.download import downloaded
from mmdino.weights.pickle_inspection import PICKLE_ERRORS, inspect_pickle

READ_ERRORS = (
    pickle.UnpicklingError,
    SafetensorError,
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    struct.error,
)
"""Errors of torch and safetensors for a damaged file."""
HUGGINGFACE_FILES = ("model.safetensors", "pytorch_model.bin")
MAX_CONFIG = 2**20
"""Bytes of the largest ``config.json`` that is read."""
ZIP, PICKLE = b"PK\x03\x04", b"\x80"
LEGACY = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
"""Start of the files of torch before 1.6."""
LEGACY_PICKLES = 5
"""Pickles in such a file: magic number, version, byte order, content and the storages' names."""
OTHER_FILES = (
    *(".py", ".json", ".yaml", ".yml", ".log", ".md", ".ipynb"),
    *(".png", ".jpg", ".jpeg", ".gif", ".mp4", ".npy", ".npz", ".onnx"),
)
"""Suffixes of files that are given for weights by mistake."""
COPY_AGAIN = "Copy or download it again."
MAX_MESSAGE = 700
"""Characters of a message about the content of a file."""
SEARCHED = 2**20
"""Bytes of another file that are searched for a pickle without its own start."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a weight file to the CPU.

    Nothing in the file is executed. A pickle may contain tensors, plain values, the classes in
    mmengine's checkpoints, and the ``argparse.Namespace`` of the authors'; it is inspected first
    and then loaded with torch's restricted unpickler. Of a TorchScript archive, such as OpenAI's
    of CLIP, the tensors of its modules are read and its code is left alone.

    Every record of a file of torch is compared with its checksum. Files of safetensors and of torch
    before 1.6 have none, so changed numbers are not found in these.

    Args:
        path: A ``.pth``, ``.pt``, ``.bin`` or ``.safetensors`` file, detected by its content; the
            folder of a Hugging Face model; or a URL, downloaded to torch's cache.

    Returns:
        The dict in the file. For safetensors, TorchScript and folders it has ``state_dict`` and
        ``meta``, a dict of strings, with the ``config.json`` of a folder under ``huggingface``.

    Raises:
        FileNotFoundError: If there is no such file, or no weights in the folder.
        ValueError: If the file is corrupted, is not a dict, or contains another class.
    """
    path = _local_path(path)
    # Unlike Path's methods, these accept names that no file can have.
    if os.path.isdir(path):
        return _read_huggingface_folder(path)
    return _read(path)


def verify_checkpoint(path: str | Path) -> None:
    """Checks that :func:`read_checkpoint` would read a local file, without keeping its tensors.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: The error that :func:`read_checkpoint` raises.
    """
    path = Path(path)
    if _is_archive(path):
        _verify_archive(path)
        _load_pickle(path, map_tensors=True)
    else:
        _read(path)


def map_checkpoint(path: str | Path) -> dict[str, Any]:
    """Returns the content of a local checkpoint, without reading or verifying its tensors.

    The tensors of a file of torch are mapped into memory, so that the rest of it, such as
    ``meta``, is read at once whatever its size.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated, or anything but its tensors is corrupted.
    """
    path = Path(path)
    if not _is_archive(path):
        return _read(path)
    _verify_archive(path, tensors=False)
    return _load_pickle(path, map_tensors=True)


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
    if "://" in str(path):
        return downloaded(str(path))
    return Path(os.path.expanduser(path))


def _start(path: Path) -> bytes:
    """Returns the first bytes of a weight file, which tell its kind."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"The weight file {printable(path)!r} does not exist.")
    # Opening a named pipe would wait for another program, and a device has no end.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{printable(path)} is no regular file: expected a weight file.")
    with path.open("rb") as file:
        return file.read(len(LEGACY))


def _read(path: Path) -> dict[str, Any]:
    start = _start(path)
    if start.startswith(ZIP):
        if is_torchscript(path):
            return _read_torchscript(path)
        _verify_archive(path)
        return _load_pickle(path)
    if _is_safetensors(start):
        return _read_safetensors(path)
    if start.startswith(PICKLE):
        _inspect_legacy(path)
        return _load_pickle(path)
    _inspect_other(path)
    found = f"it starts with {start[:9]!r}" if start else "it is empty"
    advice = "It may be a saved error page or a Git LFS pointer. Download it again."
    if path.suffix.lower() in OTHER_FILES:
        advice = "Name the checkpoint, such as work_dirs/dino_demo/epoch_12.pth."
    raise ValueError(
        f"{printable(path)} is not a weight file of torch or safetensors: {found}. {advice}"
    )


def _is_safetensors(start: bytes) -> bool:
    """Whether a file starts with a length in 8 bytes and a JSON object."""
    # The length may start as a pickle does, but a pickle would give a length of 2^40 or more.
    is_length = not start.startswith(PICKLE) or start[5:8] == bytes(3)
    return is_length and start[8:9] == b"{"


def _is_archive(path: Path) -> bool:
    """Whether a file is an archive of ``torch.save``."""
    return _start(path).startswith(ZIP) and not is_torchscript(path)


def _read_torchscript(path: Path) -> dict[str, Any]:
    try:
        return {"state_dict": read_torchscript(path), "meta": {}}
    except ValueError as error:
        raise _refused(path, error) from error
    except ARCHIVE_ERRORS as error:
        raise _corrupted(path, error) from error


def _verify_archive(path: Path, tensors: bool = True) -> None:
    try:
        verify_archive(path, tensors)
    except ValueError as error:
        raise _refused(path, error) from error


def _inspect_legacy(path: Path) -> None:
    """Inspects the pickles of a file of torch before 1.6, or the first of another file."""
    size = path.stat().st_size
    try:
        # Of a map, unlike of a file, no more is allocated than there is to read.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            for number in range(LEGACY_PICKLES):
                inspect_pickle(whole, size)
                if number == 0 and not _start(path).endswith(LEGACY[2:]):
                    raise ValueError(
                        "is a pickle that torch.save did not write: save the tensors with "
                        "torch.save(model.state_dict(), path)"
                    )
    except ValueError as error:
        raise _refused(path, error) from error


def _inspect_other(path: Path) -> None:
    """Names the code that a pickle of protocol 0 or 1 asks for, which has no start of its own."""
    with path.open("rb") as file:
        content = file.read(SEARCHED)
    try:
        for _ in pickletools.genops(content):
            pass
    except PICKLE_ERRORS:
        return
    try:
        inspect_pickle(io.BytesIO(content), len(content))
    except ValueError as error:
        raise _refused(path, error) from error


def _load_pickle(path: Path, map_tensors: bool = False) -> dict[str, Any]:
    """Loads a file of torch that was inspected."""
    try:
        with checkpoint_classes_allowed(), path.open("rb") as file:
            # torch maps files by name only, and takes only names that are text.
            map_tensors = map_tensors and str(path) == printable(path)
            source = str(path) if map_tensors else file
            content = torch.load(source, map_location="cpu", weights_only=True, mmap=map_tensors)
    except READ_ERRORS as error:
        raise _corrupted(path, error) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{printable(path)} contains a {type(content).__name__}: expected a dict of tensors, "
            "or of dicts of tensors."
        )
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return {"state_dict": tensors, "meta": file.metadata() or {}}
    except READ_ERRORS as error:
        raise _corrupted(path, error) from error


def _read_huggingface_folder(folder: Path) -> dict[str, Any]:
    config = folder / "config.json"
    weights = [folder / name for name in HUGGINGFACE_FILES if (folder / name).is_file()]
    if not config.is_file() or not weights:
        raise FileNotFoundError(
            f"{printable(folder)} is a folder without config.json or without "
            f"{' or '.join(HUGGINGFACE_FILES)}. Use a weight file, or a folder written by "
            "save_pretrained without shards (max_shard_size)."
        )
    content = _read(weights[0])
    return {
        "state_dict": content.get("state_dict", content),
        "meta": {"huggingface": _read_config(config)},
    }


def _read_config(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_CONFIG + 1)
    try:
        text = content.decode()
        known = len(content) <= MAX_CONFIG and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError) as error:
        raise _corrupted(path, error) from error
    if not known:
        raise ValueError(f"{printable(path)} is no config of Hugging Face: expected a JSON object.")
    return text


def _refused(path: Path, error: ValueError) -> ValueError:
    """Completes a message that starts after the file's name."""
    text = _printable(str(error)).rstrip(".")
    advice = f" {COPY_AGAIN}" if text.startswith("is corrupted") else ""
    return ValueError(f"{printable(path)} {text}.{advice}")


def _corrupted(path: Path, error: Exception) -> ValueError:
    lines = str(error).strip().splitlines()
    reason = _printable(lines[0] if lines else type(error).__name__).rstrip(".")
    return ValueError(f"{printable(path)} is corrupted or truncated: {reason}. {COPY_AGAIN}")


def _printable(text: str) -> str:
    """Returns a message with parts of a file, which can be long and control a terminal."""
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:MAX_MESSAGE])
    return f"{printable} ..." if len(text) > MAX_MESSAGE else printable

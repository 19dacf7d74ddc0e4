"""Downloads of weight files."""

from __future__ import annotations

import hashlib
import re
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from mmengine.logging import print_log

from mmdino.version import __version__

BLOCK = 2**20
"""Bytes read at a time."""
MAX_BYTES = 2**36
"""Size of the largest download, 64 GiB; an answer may have no end."""
MAX_NAME = 100
"""Characters of a URL's last part in the name of its file."""
DOWNLOAD_ERRORS = (OSError, HTTPException, ValueError)
"""Errors of urllib for a host, an address, an answer or a disk."""
TIMEOUT = 60
"""Seconds without an answer after which a download fails."""


def downloaded(url: str) -> Path:
    """Returns the cached download of a URL, in torch's cache.

    A file gets its name in the cache only when it is whole, and several processes can download it
    at the same time.

    Raises:
        ValueError: If the scheme is not http or https, or the file cannot be downloaded.
    """
    scheme = url.partition("://")[0]
    if scheme.lower() not in ("http", "https"):
        raise ValueError(
            f"{url} cannot be downloaded: expected a local path or an http(s) URL, not "
            f"{scheme}://. Copy the file to a local path first."
        )
    # Many URLs end in the same name, such as model.safetensors.
    digest = hashlib.sha256(url.encode(errors="surrogateescape")).hexdigest()[:16]
    name = re.sub(r"[^\w.-]", "_", url.partition("?")[0].rpartition("/")[2])[-MAX_NAME:]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / f"{digest}_{name}"
    if not cached.is_file():
        print_log(f"Downloading {url} to {cached}.", logger="current")
        try:
            _download(url, cached)
        except HTTPError as error:
            raise _failed(url, f"the server answered {error.code} {error.reason}") from error
        except DOWNLOAD_ERRORS as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise _failed(url, reason) from error
    return cached


def _download(url: str, path: Path) -> None:
    request = Request(url, headers={"User-Agent": f"mmdino/{__version__}"})
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder of its own for each process, unlike that of atomic_write.
    with TemporaryDirectory(dir=path.parent, prefix=".download_") as folder:
        partial = Path(folder) / path.name
        with urlopen(request, timeout=TIMEOUT) as answer, partial.open("wb") as file:
            expected = answer.headers.get("Content-Length")
            size = 0
            while block := answer.read(BLOCK):
                size += file.write(block)
                if size > MAX_BYTES:
                    raise ValueError(f"it is larger than {MAX_BYTES} bytes")
        # Python takes a connection that was cut for the end of the file.
        if expected is not None and size != int(expected):
            raise ValueError(f"the connection ended after {size} of {expected} bytes")
        partial.replace(path)


def _failed(url: str, reason: object) -> ValueError:
    return ValueError(
        f"{url} cannot be downloaded: {reason}. Check the address and the connection, or download "
        "it elsewhere and give its path."
    )

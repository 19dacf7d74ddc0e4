"""Downloads of weight files."""

from __future__ import annotations

import hashlib
import http.client
import tempfile
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch

from mmdino.version import __version__

BLOCK = 2**20
"""Bytes read at a time."""
MAX_BYTES = 2**36
"""Largest download, 64 GiB; an answer may have no end."""
TIMEOUT = 60
"""Seconds without an answer after which a download fails."""


def downloaded(url: str) -> Path:
    """Returns the cached download of a URL, in torch's cache.

    A file gets its name in the cache only when it is whole, so that several processes can download
    it at the same time.

    Raises:
        ValueError: If the scheme is not http or https, or the file cannot be downloaded.
    """
    address = urlsplit(url)
    if address.scheme not in ("http", "https"):
        raise ValueError(
            f"{url} cannot be downloaded: expected a local path or an http(s) URL, not "
            f"{address.scheme}://. Copy the file to a local path first."
        )
    # Many URLs end in the same name, such as model.safetensors.
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / f"{digest}_{Path(address.path).name}"
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        try:
            _download(url, cached)
        except HTTPError as error:
            raise ValueError(
                f"{url} cannot be downloaded: the server answered {error.code} {error.reason}. "
                "Check the address."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise ValueError(
                f"{url} cannot be downloaded: {reason}. Check the address and the connection, or "
                "download it elsewhere and give its path."
            ) from error
    return cached


def _download(url: str, path: Path) -> None:
    request = Request(url, headers={"User-Agent": f"mmdino/{__version__}"})
    # A folder of its own for each process, unlike that of atomic_write.
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download_") as folder:
        partial = Path(folder) / path.name
        with urlopen(request, timeout=TIMEOUT) as answer, partial.open("wb") as file:
            expected = answer.headers.get("Content-Length")
            size = 0
            while block := answer.read(BLOCK):
                size += file.write(block)
                if size > MAX_BYTES:
                    raise OSError(f"it is larger than {MAX_BYTES} bytes")
        # Python takes a connection that was cut for the end of the file.
        if expected is not None and size != int(expected):
            raise OSError(f"the connection ended after {size} of {expected} bytes")
        partial.replace(path)

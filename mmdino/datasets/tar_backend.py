"""Reading of single members of tar files through mmengine's file input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from mmengine.fileio import BaseStorageBackend, register_backend

PREFIX = "tar"
ADDRESS = re.compile(
    r"tar://(?P<shard>.+?)\?(?P<offset>\d+)\+(?P<size>\d+)/(?P<name>.+)", re.DOTALL
)


class MemberAddress(NamedTuple):
    """A member of a tar file, as ``tar://SHARD?OFFSET+SIZE/NAME``, offset and size in bytes."""

    shard: str
    offset: int
    size: int
    name: str

    @classmethod
    def parse(cls, address: str) -> MemberAddress:
        """Takes an address apart.

        Raises:
            ValueError: If it is none.
        """
        match = ADDRESS.fullmatch(address)
        if match is None:
            raise ValueError(f"{address!r} is no address tar://SHARD?OFFSET+SIZE/NAME.")
        return cls(match["shard"], int(match["offset"]), int(match["size"]), match["name"])

    def __str__(self) -> str:
        return f"{PREFIX}://{self.shard}?{self.offset}+{self.size}/{self.name}"


@register_backend(PREFIX, prefixes=PREFIX)
class TarBackend(BaseStorageBackend):
    """Reads members of tar files by the address that ``TarShards`` gives as ``img_path``.

    mmengine takes it for all addresses that start with ``tar://``, so that mmcv's
    ``LoadImageFromFile`` and any other transform that reads ``img_path`` work unchanged.
    """

    def get(self, filepath: str | Path) -> bytes:
        """Reads the content of a member."""
        member = MemberAddress.parse(str(filepath))
        # Opened for each: an open file must not be shared by forked workers.
        with open(member.shard, "rb") as file:
            file.seek(member.offset)
            return file.read(member.size)

    def get_text(self, filepath: str | Path, encoding: str = "utf-8") -> str:
        """Reads the content of a member as text."""
        return self.get(filepath).decode(encoding)

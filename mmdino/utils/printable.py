"""File names as text that can be printed, logged and encoded."""

from __future__ import annotations

import os


def printable(name: str | os.PathLike) -> str:
    """Returns a file name with everything escaped that cannot be printed.

    These are control characters, such as line breaks, and bytes that are no UTF-8, which Python
    represents by surrogates that no encoder accepts.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in os.fspath(name)
    )

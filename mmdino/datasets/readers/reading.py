"""Which function reads images of no usual format, and which files it is for."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Reading(NamedTuple):
    """A function that reads images, and the extensions of its files.

    Attributes:
        reader: What :class:`~mmdino.datasets.LoadImage` takes.
        extensions: Extensions, in lower case; None for those of usual images.
    """

    reader: str | Mapping[str, Any]
    extensions: tuple[str, ...] | None = None


def reading_from(
    reader: str | Mapping[str, Any] | None, extensions: Sequence[str] | None
) -> Reading | None:
    """Returns how images are read; None for usual ones.

    Args:
        reader: Name of the function, or a dict of it (``type``) and its arguments.
        extensions: Extensions of its files, such as ``[".dcm"]``.

    Raises:
        TypeError: If ``extensions`` is a text, or an argument of the reader is no literal.
        ValueError: If extensions are given without a reader, or are none.
    """
    if isinstance(extensions, str):
        raise TypeError(f"invalid extensions={extensions!r}: expected a list, [{extensions!r}].")
    if extensions is not None and not extensions:
        raise ValueError("extensions=[] is no file: name one at least, such as ['.dcm'].")
    if reader is None and extensions is not None:
        raise ValueError(
            f"extensions={list(extensions)} were given without a reader of such files. Name one, "
            "such as mmdino.read_tiff or mmdino.read_dicom."
        )
    if reader is None:
        return None
    _require_literal(reader)
    return Reading(reader, None if extensions is None else tuple(e.lower() for e in extensions))


def _require_literal(reader: str | Mapping[str, Any]) -> None:
    plain = dict(reader) if isinstance(reader, Mapping) else reader
    try:
        same = ast.literal_eval(repr(plain)) == plain
    except (ValueError, SyntaxError):
        same = False
    if not same:
        raise TypeError(
            f"invalid reader={reader!r}: a config and a checkpoint keep it as text, so that its "
            "arguments must be numbers, texts, lists, tuples or dicts of these."
        )

"""Reading of pickles of plain values and NumPy arrays, without running what else they ask for."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

MAX_BYTES = 2**28
"""Size of a file that is read; the ground truth of Oxford and Paris has less than 1 MB."""

DAMAGED = (
    *(AttributeError, EOFError, ImportError, IndexError, KeyError, MemoryError, OverflowError),
    *(RecursionError, TypeError, ValueError, pickle.UnpicklingError),
)
"""What Python raises of a file that is no whole pickle."""


def read_plain_pickle(path: str | Path) -> Any:
    """Reads a pickle of None, numbers, text, bytes, lists, tuples, sets, dicts and NumPy arrays.

    Pickles of Python 2 are read too.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no pickle, or asks for anything else.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has more than {MAX_BYTES} bytes, too many for plain values.")
    with path.open("rb") as file:
        unpickler = _PlainUnpickler(file, encoding="latin1")
        try:
            return unpickler.load()
        except DAMAGED as error:
            if unpickler.refused:
                raise ValueError(
                    f"{path} asks for {unpickler.refused} when it is loaded, which plain values "
                    "never do. It is not loaded, since it may run any code: check its source."
                ) from error
            raise ValueError(
                f"{path} cannot be read as a pickle ({error}). Download it again."
            ) from error


class _PlainUnpickler(pickle.Unpickler):
    """Finds nothing but what makes arrays and encodes bytes."""

    refused = ""
    """The first name that was refused."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns a harmless stand-in for what NumPy's pickles name.

        Raises:
            UnpicklingError: If it is anything else.
        """
        # NumPy 2 has renamed its core.
        path = f"{module}.{name}".replace("numpy._core.", "numpy.core.")
        if path not in STAND_INS:
            self.refused = f"{module}.{name}"
            raise pickle.UnpicklingError(self.refused)
        return STAND_INS[path]


def _empty_array(*_: Any) -> np.ndarray:
    """The array that the state which follows is set on."""
    return np.ndarray(0, np.int8)


def _dtype(code: str, *_: Any) -> np.dtype:
    """The type of an array of numbers, text or bytes."""
    if not isinstance(code, str) or np.dtype(code).kind not in "biufcUSO":
        raise pickle.UnpicklingError(f"dtype {code!r}")
    # A copy: what follows sets the byte order on it.
    return np.dtype(code, False, True)


def _array_of_bytes(
    content: bytes | bytearray, dtype: np.dtype, shape: tuple[int, ...], order: str
) -> np.ndarray:
    """An array, as protocol 5 keeps it."""
    return np.frombuffer(content, dtype).reshape(shape, order=order)


def _scalar(dtype: np.dtype, content: bytes | str) -> np.generic:
    """A number of NumPy."""
    raw = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(raw, dtype, count=1)[0]


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """The bytes that protocols below 3 keep as text."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


STAND_INS: dict[str, Any] = {
    # The class is only handed on to the function, which makes an empty array anyway.
    "numpy.ndarray": "ndarray",
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _array_of_bytes,
    "_codecs.encode": _encode,
}
"""Harmless functions for what NumPy's pickles name."""

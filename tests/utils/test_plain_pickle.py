"""Plain values and arrays are read from a pickle, and nothing in it is run."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from mmdino.utils.plain_pickle import read_plain_pickle

CONTENT = {
    "imlist": ["a", "b"],
    "gnd": [{"easy": np.array([1, 2]), "junk": [], "bbx": (1.5, np.float64(2), None, True)}],
    "big-endian": np.array([1, 2], ">i4"),
    "table": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "names": np.array(["x", "yy"]),
    "objects": np.array([[1, 2], "text"], dtype=object),
    "bytes": b"\xff\x00",
}


class Command:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write(path, content, protocol=None):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_values_and_arrays_come_back_as_they_were(tmp_path, protocol):
    path = write(tmp_path / "a.pkl", CONTENT, protocol)
    found, expected = read_plain_pickle(path), pickle.loads(path.read_bytes())
    assert found.keys() == CONTENT.keys()
    for key in ("big-endian", "table", "names", "objects"):
        assert isinstance(found[key], np.ndarray)
        assert found[key].dtype == expected[key].dtype
        np.testing.assert_array_equal(found[key], CONTENT[key])
    (gnd,) = found["gnd"]
    np.testing.assert_array_equal(gnd["easy"], [1, 2])
    assert gnd["bbx"] == (1.5, 2.0, None, True)
    assert (found["bytes"], found["imlist"]) == (b"\xff\x00", ["a", "b"])
    assert np.dtype("i4").byteorder == "=", "NumPy's own type is not changed"


def test_names_of_numpy_1_and_python_2_are_known(tmp_path):
    """Protocol 0 is text, so that the names can be replaced."""
    text = pickle.dumps({"easy": np.array([1, 2])}, 0).replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core.multiarray" in text
    (tmp_path / "a.pkl").write_bytes(text)
    np.testing.assert_array_equal(read_plain_pickle(tmp_path / "a.pkl")["easy"], [1, 2])
    # A str of Python 2, which is of bytes.
    (tmp_path / "b.pkl").write_bytes(pickle.PROTO + b"\x02U\x03\xe9t\xe9.")
    assert read_plain_pickle(tmp_path / "b.pkl") == "\xe9t\xe9"


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch ran",)),
        (eval, ("open('ran', 'w')",)),
        (getattr, ("text", "format")),
        (np.load, ("ran",)),
        (np.ndarray.tofile, ("ran",)),
    ],
)
def test_what_a_pickle_asks_for_is_named_and_not_run(tmp_path, monkeypatch, function, arguments):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "evil.pkl", {"imlist": Command(function, *arguments)}, 2)
    with pytest.raises(ValueError, match=r"asks for .* when it is loaded"):
        read_plain_pickle(path)
    assert [file.name for file in tmp_path.iterdir()] == ["evil.pkl"]


def test_an_array_of_promised_terabytes_is_not_made(tmp_path):
    whole = pickle.dumps(np.zeros(3, np.int8), 2)
    huge = whole.replace(b"K\x03\x85", b"\x8a\x06\x00\x00\x00\x00\x00\x7f\x85")
    assert huge != whole
    (tmp_path / "a.pkl").write_bytes(huge)
    with pytest.raises(ValueError, match="cannot be read as a pickle"):
        read_plain_pickle(tmp_path / "a.pkl")


def test_damaged_files_are_named(tmp_path):
    whole = pickle.dumps(CONTENT)
    rng = np.random.default_rng(0)
    path = tmp_path / "a.pkl"
    for _ in range(100):
        damaged = bytearray(whole[: rng.integers(len(whole))])
        if damaged:
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.pkl"):
            read_plain_pickle(path)


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_plain_pickle(tmp_path / "a.pkl")

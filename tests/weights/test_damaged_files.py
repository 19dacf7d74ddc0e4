"""A damaged file ends in one error, and never in other numbers where the format has checksums."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.logging import HistoryBuffer

from mmdino.weights.files import map_checkpoint, read_checkpoint, verify_checkpoint, write_tensors

SETTINGS = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    # The folder is the same for all examples: each overwrites the file.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FORMATS = ("zip", "without checksums", "legacy", "safetensors")


def training_checkpoint() -> dict[str, Any]:
    """What a training writes: tensors of several types, optimiser state, history and meta."""
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    history = HistoryBuffer()
    history.update(0.5)
    return {
        "state_dict": layer.state_dict(),
        "optimizer": optimizer.state_dict(),
        "message_hub": {"log_scalars": {"loss": history}, "lr": np.float64(0.1)},
        "meta": {"epoch": 2, "cfg": "model = dict(type='DINO')", "args": argparse.Namespace(x=1)},
        "half": torch.ones(3, dtype=torch.bfloat16),
    }


def equal(first: Any, second: Any) -> bool:
    """Whether two contents are the same, to the bit."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second)
    if isinstance(first, HistoryBuffer):
        return all(map(equal, first.data, second.data))
    return first == second


@pytest.fixture(scope="module", params=FORMATS)
def whole(request, tmp_path_factory):
    """A path to write damaged copies to, the bytes of the file, and its content."""
    path = tmp_path_factory.mktemp("damaged") / "a.pth"
    content = training_checkpoint()
    if request.param == "safetensors":
        content = {"state_dict": dict(content["state_dict"]), "meta": {"network": "teacher"}}
        target = path.with_suffix(".safetensors")
        write_tensors(target, content["state_dict"], content["meta"])
        target.rename(path)
    else:
        crc32 = request.param != "without checksums"
        torch.serialization.set_crc32_options(crc32)
        torch.save(content, path, _use_new_zipfile_serialization=request.param != "legacy")
        torch.serialization.set_crc32_options(True)
    return path, path.read_bytes(), read_checkpoint(path), request.param == "zip"


def outcome(path):
    """Returns what a file is read as, and the message if it is refused."""
    try:
        return read_checkpoint(path), None
    except ValueError as error:
        return None, str(error)


def require_whole_or_refused(path, damaged, content, checked):
    path.write_bytes(damaged)
    found, message = outcome(path)
    if message is None:
        verify_checkpoint(path)
        assert not checked or equal(found, content)
    else:
        assert message.startswith(str(path))
        with pytest.raises(ValueError, match=r"a\.pth"):
            verify_checkpoint(path)


def test_the_whole_file_is_read(whole):
    path, intact, content, _ = whole
    path.write_bytes(intact)
    assert equal(read_checkpoint(path), content)
    verify_checkpoint(path)
    assert map_checkpoint(path)["meta"].keys() == content["meta"].keys()


@SETTINGS
@given(data=st.data())
def test_flipped_bits_are_found(whole, data):
    path, intact, content, checked = whole
    bits = st.integers(0, 8 * len(intact) - 1)
    damaged = bytearray(intact)
    for bit in data.draw(st.sets(bits, min_size=1, max_size=8)):
        damaged[bit // 8] ^= 1 << bit % 8
    require_whole_or_refused(path, damaged, content, checked)


@SETTINGS
@given(data=st.data())
def test_a_truncated_file_is_refused(whole, data):
    path, intact, *_ = whole
    path.write_bytes(intact[: data.draw(st.integers(0, len(intact) - 1))])
    for read in (read_checkpoint, verify_checkpoint, map_checkpoint):
        with pytest.raises(ValueError, match=r"a\.pth"):
            read(path)


@SETTINGS
@given(data=st.data())
def test_overwritten_moved_and_inserted_bytes_are_found(whole, data):
    path, intact, content, checked = whole
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(intact))] * 2)))
    other = data.draw(
        st.one_of(
            st.binary(max_size=64),
            st.just(bytes(end - start)),
            st.integers(0, len(intact)).map(lambda at: intact[at : at + end - start]),
        )
    )
    require_whole_or_refused(path, intact[:start] + other + intact[end:], content, checked)


@SETTINGS
@given(content=st.binary(max_size=200), start=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02"]))
def test_bytes_of_nothing_are_refused(tmp_path, content, start):
    (tmp_path / "a.pth").write_bytes(start + content)
    with pytest.raises(ValueError, match=r"a\.pth"):
        read_checkpoint(tmp_path / "a.pth")

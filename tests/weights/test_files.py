"""Weights are read without executing code, and written atomically."""

from __future__ import annotations

import argparse
import json
from fractions import Fraction

import pytest
import torch
from torch import nn

from mmdino.weights.files import map_checkpoint, read_checkpoint, verify_checkpoint, write_tensors

TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(3)}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_and_metadata_come_back(tmp_path, suffix):
    path = tmp_path / "new" / f"weights{suffix}"
    write_tensors(path, TENSORS, {"backbone": "{}"})
    content = read_checkpoint(path)
    assert equal(content["state_dict"], TENSORS)
    assert content["meta"]["backbone"] == "{}"


def test_without_metadata_a_pth_is_the_bare_dict(tmp_path):
    write_tensors(tmp_path / "a.pth", TENSORS)
    assert equal(read_checkpoint(tmp_path / "a.pth"), TENSORS)


def test_views_of_one_tensor_are_written_apart(tmp_path):
    whole = torch.arange(6.0)
    write_tensors(tmp_path / "a.safetensors", {"first": whole[:3], "all": whole})
    assert read_checkpoint(tmp_path / "a.safetensors")["state_dict"]["first"].tolist() == [0, 1, 2]


def test_an_extracted_pth_needs_no_class_to_be_allowed(tmp_path):
    write_tensors(tmp_path / "a.pth", TENSORS, {"backbone": "{}"})
    loaded = torch.load(tmp_path / "a.pth", weights_only=True)
    assert equal(loaded["state_dict"], TENSORS)


def test_the_kind_is_known_by_the_content(tmp_path):
    write_tensors(tmp_path / "a.safetensors", TENSORS)
    (tmp_path / "a.safetensors").rename(tmp_path / "a.pth")
    assert equal(read_checkpoint(tmp_path / "a.pth")["state_dict"], TENSORS)


def test_a_length_that_starts_as_a_pickle_does_is_no_pickle(tmp_path):
    path = tmp_path / "a.safetensors"
    for padding in range(256):
        write_tensors(path, TENSORS, {"padding": "x" * padding})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    assert equal(read_checkpoint(path)["state_dict"], TENSORS)


def test_the_authors_namespace_is_allowed(tmp_path):
    torch.save({"args": argparse.Namespace(arch="vit_small")}, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth")["args"].arch == "vit_small"


@pytest.mark.parametrize("legacy", [False, True])
def test_any_other_class_is_refused_by_name(tmp_path, legacy):
    torch.save(
        {"model": Fraction(1, 2)},
        tmp_path / "a.pth",
        _use_new_zipfile_serialization=not legacy,
    )
    with pytest.raises(ValueError, match=r"asks to run code: fractions\.Fraction\."):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path, suffix, fraction):
    path = tmp_path / f"a{suffix}"
    write_tensors(path, {"a": torch.zeros(1000)})
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ValueError, match="corrupted or truncated"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content", ["<!DOCTYPE html><html>404</html>", "version https://git-lfs", ""]
)
def test_a_page_in_place_of_the_file_is_refused(tmp_path, content):
    (tmp_path / "a.pth").write_text(content)
    with pytest.raises(ValueError, match=r"not a weight file.*Download it again"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(FileNotFoundError, match=r"without config\.json"):
        read_checkpoint(tmp_path)


def test_a_huggingface_folder_has_its_config(tmp_path):
    write_tensors(tmp_path / "model.safetensors", TENSORS)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    content = read_checkpoint(tmp_path)
    assert equal(content["state_dict"], TENSORS)
    assert json.loads(content["meta"]["huggingface"]) == {"model_type": "vit"}


def test_a_pickle_of_something_else_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "a.pth")
    with pytest.raises(ValueError, match="contains a list"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_meta_is_read_without_the_tensors(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_tensors(path, TENSORS, {"network": "teacher"})
    assert map_checkpoint(path)["meta"]["network"] == "teacher"
    verify_checkpoint(path)


def test_a_flipped_bit_is_found_in_the_record_that_has_it(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {"w": torch.full((64,), 7.0)}, "meta": {"epoch": 3}}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((64,), 7.0).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    for read in (read_checkpoint, verify_checkpoint):
        with pytest.raises(ValueError, match="its record 'a/data/0' does not match"):
            read(path)
    # To compare them would take as long as reading them.
    assert map_checkpoint(path)["meta"] == {"epoch": 3}


def test_the_home_folder_has_a_short_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_tensors(tmp_path / "a.pth", TENSORS)
    assert equal(read_checkpoint("~/a.pth"), TENSORS)


class Scripted(nn.Module):
    """Has what modules of CLIP have: half precision, views, a number, and other values."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, bias=False)
        self.norms = nn.ModuleList([nn.LayerNorm(4), nn.LayerNorm(4).half()])
        self.tied = self.conv
        self.scale = nn.Parameter(torch.randn(3, 4).T)
        self.empty = nn.Parameter(torch.zeros(0, 2))
        self.register_buffer("size", torch.tensor(224))
        self.steps, self.rate, self.kinds = (1, 2), 0.5, {"a": 1}

    def forward(self, x):
        return self.conv(x) * self.rate


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_the_tensors_of_torchscript_are_read_without_its_code(tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = torch.jit.script(Scripted())
    model.save(str(tmp_path / "model.pt"))
    expected = model.state_dict()
    monkeypatch.setattr(torch.jit, "load", None)
    verify_checkpoint(tmp_path / "model.pt")
    for read in (read_checkpoint, map_checkpoint):
        content = read(tmp_path / "model.pt")
        assert content["state_dict"].keys() == expected.keys()
        for name, tensor in expected.items():
            found = content["state_dict"][name]
            assert found.dtype == tensor.dtype
            assert torch.equal(found, tensor), name

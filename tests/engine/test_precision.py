"""The precision that is chosen for a device."""

from __future__ import annotations

import pytest
import torch

from mmdino.engine import precision
from mmdino.engine.precision import autocast_dtype, validates_under_autocast


@pytest.mark.parametrize(
    ("native", "expected"), [(True, torch.bfloat16), (False, torch.float16)], ids=["has it", "not"]
)
def test_auto_is_bfloat16_where_the_gpu_computes_with_it(monkeypatch, native, expected):
    """Older ones emulate it."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda emulated=True: emulated or native)
    assert autocast_dtype("auto", "cuda") is expected


def test_auto_is_float32_on_an_apple_gpu(monkeypatch):
    """mmengine's autocast knows none."""
    monkeypatch.setattr(precision, "get_device", lambda: "mps")
    assert autocast_dtype("auto", "mps") is None
    assert not validates_under_autocast("auto")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("flags : fpu avx512_bf16 amx_bf16", torch.bfloat16),
        ("Features : asimd bf16", torch.bfloat16),
        ("flags : fpu avx512f", None),
        ("", None),
    ],
)
def test_auto_is_bfloat16_where_the_processor_computes_with_it(monkeypatch, flags, expected):
    """Emulated, it is several times slower than float32. Validation follows."""
    monkeypatch.setattr(precision, "cpu_info", lambda: flags)
    monkeypatch.setattr(precision, "get_device", lambda: "cpu")
    assert autocast_dtype("auto", "cpu") is expected
    assert validates_under_autocast("auto") is (expected is not None)


def test_what_is_asked_for_is_done_on_any_processor(monkeypatch):
    monkeypatch.setattr(precision, "cpu_info", str)
    assert autocast_dtype("bfloat16", "cpu") is torch.bfloat16
    assert autocast_dtype("float32", "cpu") is None
    assert validates_under_autocast(True)
    assert not validates_under_autocast(False)


def test_other_values_are_refused():
    with pytest.raises(ValueError, match=r"precision='half'; it must be one of \['float32'"):
        autocast_dtype("half", "cpu")
    with pytest.raises(ValueError, match=r"val_cfg.fp16='yes' is not usable: expected True"):
        validates_under_autocast("yes")

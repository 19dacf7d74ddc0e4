"""A run on a GPU is that on a CPU, number for number in float64."""

from __future__ import annotations

import pytest
import tiny_dinov2
import tiny_methods
import tiny_run
import torch

DRAWING = "dinov2_drawn"
"""Draws stochastic depth on the device, where another generator gives other numbers."""
RUNS = (
    "dino",
    *tiny_methods.METHODS,
    *(name for name in tiny_dinov2.RUNS if name != DRAWING),
    "distillation",
    "feature_distillation",
)


@pytest.fixture
def double():
    """Makes float64 the default of new tensors, also of the views."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def options(name, folder):
    """What a run of a method passes to ``tiny_run.build``."""
    if name == "dino":
        return {"dataset": tiny_run.RandomViews(dtype=torch.float64), "epochs": 3}
    return tiny_methods.options(name, folder)


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_that_on_a_cpu(tmp_path, compute_on, double, name):
    start = tmp_path / "start.pth"
    ends = []
    for device in ("cpu", "cuda"):
        compute_on(device)
        runner = tiny_run.build(tmp_path / device, load_from=str(start), **options(name, tmp_path))
        if not start.exists():
            # Initial weights are drawn on the device, by another generator.
            runner.model.init_weights()
            torch.save({"state_dict": runner.model.state_dict()}, start)
        runner.train()
        assert {p.device.type for p in runner.model.parameters()} == {device}
        ends.append({key: tensor.cpu() for key, tensor in runner.model.state_dict().items()})
    on_cpu, on_gpu = ends
    first = torch.load(start)["state_dict"]
    assert any(not torch.equal(tensor, on_gpu[key]) for key, tensor in first.items())
    torch.testing.assert_close(on_gpu, on_cpu, rtol=0, atol=1e-9)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_resumed_run_ends_where_a_whole_one_does(tmp_path, precision):
    wrapper = {"precision": precision}
    whole, resumed = (
        tiny_run.build(tmp_path / name, epochs=4, wrapper=wrapper, **more)
        for name, more in (
            ("whole", {}),
            ("resumed", {"load_from": f"{tmp_path}/whole/epoch_2.pth", "resume": True}),
        )
    )
    whole.train()
    resumed.train()
    expected = whole.model.state_dict()
    for key, tensor in resumed.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[key], rtol=1e-4, atol=1e-5, msg=key)

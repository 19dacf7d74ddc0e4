"""After many accidents a run ends as one that nothing happened to, bit for bit."""

from __future__ import annotations

import json
import os

import pytest
import torch
from script_process import run_script

pytestmark = pytest.mark.slow

ACCIDENTS = {"float16": int(os.environ.get("SOAK_ACCIDENTS", "8")), "bfloat16": 3}


@pytest.fixture(scope="module", params=ACCIDENTS)
def soaked(request, tmp_path_factory):
    """The folder of a run with accidents and of one without, and the number of accidents."""
    folder = tmp_path_factory.mktemp(request.param)
    seed = {"float16": 0, "bfloat16": 1}[request.param]
    run_script("soak.py", folder, seed, ACCIDENTS[request.param], request.param)
    return folder, ACCIDENTS[request.param]


def test_it_had_accidents_of_many_kinds_and_went_on_after_each(soaked):
    folder, accidents = soaked
    report = json.loads((folder / "report.json").read_text())
    assert len(report) == accidents
    assert len({name for name, *_ in report}) >= accidents // 3
    assert any(damaged for *_, damaged, _ in report) or accidents < 10, "none was damaged"
    iterations = [iteration for *_, iteration in report]
    undamaged = [damaged is None for *_, damaged, _ in report]
    for before, after, whole in zip(iterations, iterations[1:], undamaged[1:], strict=False):
        assert after >= before or not whole, "a checkpoint was lost"


def test_it_ends_the_same(soaked):
    folder, _ = soaked
    ends = [folder / name / "end" / "state.pt" for name in ("soaked", "undisturbed")]
    found, expected = (torch.load(end, weights_only=False) for end in ends)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    curves = [
        json.loads((folder / name / "training.json").read_text())
        for name in ("soaked", "undisturbed")
    ]
    assert curves[0]["knn"] == curves[1]["knn"]
    assert curves[0]["train"]["loss"] == curves[1]["train"]["loss"]


def test_nothing_else_is_left(soaked):
    folder, _ = soaked

    def left(name):
        work_dir = folder / name
        logs = {path.name for path in work_dir.iterdir() if path.name.startswith("20")}
        return {path.name for path in work_dir.iterdir()} - logs

    assert left("soaked") == left("undisturbed")

"""Twenty accidents later a run ends as one that nothing happened to, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import tiny_run
import torch

pytestmark = pytest.mark.slow

ACCIDENTS = 20


@pytest.fixture(scope="module", params=["float16", "bfloat16"])
def soaked(request, tmp_path_factory):
    """The folder of a run with accidents and of one without."""
    folder = tmp_path_factory.mktemp(request.param)
    seed = {"float16": 0, "bfloat16": 1}[request.param]
    command = [sys.executable, str(tiny_run.SCRIPTS / "soak.py"), str(folder), str(seed)]
    result = subprocess.run(
        [*command, str(ACCIDENTS), request.param],
        env=tiny_run.script_env(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


def test_it_had_accidents_of_many_kinds_and_went_on_after_each(soaked):
    report = json.loads((soaked / "report.json").read_text())
    assert len(report) == ACCIDENTS
    assert len({name for name, *_ in report}) >= 6
    assert any(damaged for *_, damaged, _ in report)
    iterations = [iteration for *_, iteration in report]
    undamaged = [damaged is None for *_, damaged, _ in report]
    for before, after, whole in zip(iterations, iterations[1:], undamaged[1:], strict=False):
        assert after >= before or not whole, "a checkpoint was lost"


def test_it_ends_the_same(soaked):
    ends = [soaked / name / "end" / "state.pt" for name in ("soaked", "undisturbed")]
    found, expected = (torch.load(end, weights_only=False) for end in ends)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    curves = [
        json.loads((soaked / name / "training.json").read_text())
        for name in ("soaked", "undisturbed")
    ]
    assert curves[0]["knn"] == curves[1]["knn"]
    assert curves[0]["train"]["loss"] == curves[1]["train"]["loss"]


def test_nothing_else_is_left(soaked):
    def left(name):
        work_dir = soaked / name
        logs = {path.name for path in work_dir.iterdir() if path.name.startswith("20")}
        return {path.name for path in work_dir.iterdir()} - logs

    assert left("soaked") == left("undisturbed")

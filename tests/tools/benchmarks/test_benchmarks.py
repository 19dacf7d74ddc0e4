"""Each benchmark that times torch runs on tiny sizes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_run
import torch

FOLDER = Path(__file__).parents[3] / "tools" / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "options", "cases"),
    [
        ("step", ["--with-cp"], ["plain step", "ours", "ours, checkpointed"]),
        ("step", ["--dtype", "bf16"], ["plain step", "ours"]),
        ("step", ["--method", "dinov2"], ["plain step", "ours"]),
        ("step", ["--method", "dinov2", "--shared-head", "--dtype", "bf16"], ["plain step"]),
        ("loss", [], ["a log-softmax a pair", "ours, chunk None", "ours, chunk 2"]),
        (
            "loss",
            ["--dtype", "bf16"],
            ["a log-softmax a pair", "ours, chunk None", "ours, chunk 2"],
        ),
        ("ema", [], ["loop over tensors", "ours"]),
        ("knn", [], ["brute force, one matrix", "ours"]),
        ("memory_format", [], ["channels first", "channels last"]),
    ],
)
def test_a_benchmark_prints_a_table_and_writes_its_files(tmp_path, capsys, name, options, cases):
    files = [tmp_path / "figures.json", tmp_path / "figure.png"]
    argv = ["--smoke", *options, "--json", str(files[0]), "--figure", str(files[1])]
    load(name).main(argv)
    content = json.loads(files[0].read_text())
    assert content["command"].startswith(f"python tools/benchmarks/{name}.py --smoke")
    assert content["machine"]["torch"] == torch.__version__
    printed = capsys.readouterr().out
    for rows in content["tables"].values():
        assert [row["case"] for row in rows][: len(cases)] == cases
        assert rows[0]["x baseline"] == 1
        assert rows[-1].get("x limit", 1) == 1
        for row in rows:
            assert 0 < row["min s"] <= row["median s"] <= row["max s"]
            assert f"| {row['case']}" in printed
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert sorted(tmp_path.iterdir()) == sorted(files)


@pytest.mark.slow
def test_a_script_finds_the_common_code_from_any_directory(tmp_path):
    command = [sys.executable, str(FOLDER / "views.py"), "--help"]
    result = subprocess.run(
        command, cwd=tmp_path, env=tiny_run.script_env(), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "--images" in result.stdout


def test_steps_of_several_batch_sizes_are_drawn_as_lines(tmp_path):
    step = load("step")
    argv = ["--smoke", "--no-memory", "--rounds", "1", "--figure", str(tmp_path / "figure.png")]
    step.SMOKE = {**step.SMOKE, "batch": [1, 2], "rounds": 1}
    step.main([*argv, "--json", str(tmp_path / "figures.json")])
    tables = json.loads((tmp_path / "figures.json").read_text())["tables"]
    assert list(tables) == ["batch 1", "batch 2"]
    assert (tmp_path / "figure.png").stat().st_size > 0


def test_products_of_a_step_are_all_of_the_networks():
    """ViT-S/16 has 4.6 billion multiplications with an addition for an image of 224 pixels."""
    step = load("step")
    args = step.parser().parse_args(["--locals", "0"])
    products = list(step.products_of_step(args, batch=1))
    teacher = [product for product in products if not product.gradients]
    backbone = [product for product in teacher if product.k != 2048 and product.n < 2048]
    assert sum(product.flops for product in backbone) / 4 == pytest.approx(4.6e9, rel=0.02)


def test_overhead_of_the_runner_is_told_by_hook(tmp_path, capsys):
    file = tmp_path / "figures.json"
    argv = ["--smoke", "--history", "30", "--json", str(file), "--figure", str(tmp_path / "f.png")]
    load("runner_overhead").main(argv)
    tables = json.loads(file.read_text())["tables"]
    bare, runner = tables["steps"]
    assert (bare["case"], bare["ms added to a step"]) == ("bare step", 0)
    assert runner["case"] == "Runner"
    assert runner["median s"] > 0
    hooks = {row["hook"]: row["ms a step"] for row in tables["hooks"]}
    assert {"IterationSeedHook", "RuntimeInfoHook", "EMATeacherHook", "LoggerHook"} <= hooks.keys()
    assert all(spent > 0 for spent in hooks.values())
    assert "| IterationSeedHook" in capsys.readouterr().out
    assert (tmp_path / "f.png").stat().st_size > 0

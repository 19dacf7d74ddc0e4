"""Each benchmark runs on tiny sizes, and what it calls the baseline computes what ours does."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

import mmdino
from mmdino.benchmarking.dino_step import build_dino, dino_step
from mmdino.benchmarking.plain_step import PlainStep

FOLDER = Path(mmdino.__file__).parents[1] / "tools" / "benchmarks"


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
        ("loss", [], ["a log-softmax a pair", "ours, chunk None", "ours, chunk 2"]),
        (
            "loss",
            ["--dtype", "bf16"],
            ["a log-softmax a pair", "ours, chunk None", "ours, chunk 2"],
        ),
        ("ema", [], ["loop over tensors", "ours"]),
        ("knn", [], ["brute force, one matrix", "ours"]),
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
        assert rows[-1]["x limit"] == 1
        for row in rows:
            assert 0 < row["min s"] <= row["median s"] <= row["max s"]
            assert f"| {row['case']}" in printed
    assert files[1].read_bytes().startswith(b"\x89PNG")
    assert sorted(tmp_path.iterdir()) == sorted(files)


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


def test_plain_step_computes_what_ours_does():
    """Loss, gradient step, teacher and centre, so that the two times are of the same work."""
    torch.manual_seed(0)
    step = load("step")
    args = step.parser().parse_args([])
    vars(args).update(step.SMOKE)
    model = build_dino(
        args.arch, args.patch, args.global_size, args.prototypes, "cpu", drop_path_rate=0.0
    ).double()
    with torch.no_grad():
        model.head.last_layer.weight_v.add_(torch.randn_like(model.head.last_layer.weight_v))
    plain = PlainStep(model)
    views = [torch.randint(256, (2, 3, side, side), dtype=torch.uint8) for side in (32, 32, 16, 16)]
    ours = dino_step(model, None)
    for _ in range(2):
        ours(views)
        plain(views)
    backbone, head = plain.teacher
    expected = dict(model.teacher["backbone"].named_parameters())
    torch.testing.assert_close(backbone.cls_token, expected["cls_token"], rtol=0, atol=1e-9)
    torch.testing.assert_close(
        backbone.blocks[1]["fc1"].weight,
        expected["layers.1.ffn.layers.0.0.weight"],
        rtol=0,
        atol=1e-9,
    )
    direction = head.last_layer.parametrizations.weight.original1
    torch.testing.assert_close(
        direction, model.teacher["head"].last_layer.weight_v, rtol=0, atol=1e-9
    )
    torch.testing.assert_close(plain.center, model.dino_loss.center, rtol=0, atol=1e-9)
    assert not torch.equal(expected["cls_token"], model.backbone.cls_token)

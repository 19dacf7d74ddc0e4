"""The needs of a run on many GPUs, against figures worked out by hand."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(ROOT / "tools/benchmarks/scale.py"))


@pytest.fixture
def run(tool):
    """A hundred epochs of 1,000 images; 3 million trained parameters, 1 million in the head."""
    return tool["Run"](
        images=1000,
        epochs=100,
        batch_size=50,
        image_bytes=1e5,
        view_bytes=500_000,
        student_parameters=3_000_000,
        head_parameters=1_000_000,
        all_parameters=6_000_000,
        backward_share=0.5,
    )


def test_the_authors_time_is_the_rate_it_is_anchored_to(tool, run):
    run.images, run.epochs = 1_281_167, 100
    assert tool["hours"](run, 105.9, 8) / 24 == pytest.approx(1.75, abs=1e-3)


def test_a_row(tool, run):
    (row,) = tool["rows"](run, per_gpu=100, per_core=40, counts=[4])
    assert row["hours"] == pytest.approx(100_000 / 400 / 3600)
    assert row["cores"] == 10
    assert row["cores a GPU"] == 2.5
    assert row["files MB/s"] == 40
    assert row["views MB/s a GPU"] == 50
    # Twice three quarters of 12 MB, in half of a step of an eighth of a second.
    assert row["DDP MB a step"] == 18
    assert row["DDP Gbit/s a GPU"] == pytest.approx(18e6 * 8 / 0.0625 / 1e9)
    # Three times 2 M, twice 1 M, 3 M of the teacher, 3 M of gradients, over the whole step.
    assert row["FSDP Gbit/s a GPU"] == pytest.approx(0.75 * 4 * 14e6 * 8 / 0.125 / 1e9)


def test_one_gpu_exchanges_nothing(tool, run):
    assert tool["ddp_bytes"](run, 1) == tool["fsdp_bytes"](run, 1) == 0


def test_backward_share_counts_tokens(tool):
    # Forward 1 and backward 2 of all tokens in the student, 1 of the half that the teacher sees.
    assert tool["backward_share"](200, 100) == pytest.approx(400 / 700)


def write_benchmark(path, **rates):
    rows = [{"case": case, "images/s": rate} for case, rate in rates.items()]
    path.write_text(json.dumps({"tables": {"targets": [{"target": 6}], "images": rows}}))
    return path


def test_tool_reads_other_benchmarks_and_writes(tool, tmp_path, capsys):
    files = {name: tmp_path / name for name in ("json", "figure.png")}
    pipeline = write_benchmark(tmp_path / "pipeline.json", mmdino=250.0, pillow=40.0)
    step = write_benchmark(tmp_path / "step.json", ours=500.0)
    tool["main"](
        [
            str(ROOT / "configs/dino_demo.py"),
            *("--pipeline", str(pipeline), "mmdino"),
            *("--step", str(step), "ours"),
            *("--gpus", "8", "64"),
            *("--json", str(files["json"])),
            *("--figure", str(files["figure.png"])),
        ]
    )
    assert "12 epochs of 1281167 images in batches of 256" in capsys.readouterr().out
    content = json.loads(files["json"].read_text())
    (rows,) = content["tables"].values()
    assert [row["cores"] for row in rows] == [16, 128]
    assert content["settings"]["view_bytes"] == 2 * 48 * 48 * 3 + 2 * 32 * 32 * 3
    assert files["figure.png"].stat().st_size > 0


def test_unknown_case_is_refused_with_the_known_ones(tool, tmp_path):
    path = write_benchmark(tmp_path / "pipeline.json", mmdino=250.0)
    with pytest.raises(ValueError, match=r"no images/s of 'our'.*\['mmdino'\]"):
        tool["read_rate"](str(path), "our")


def test_rates_must_be_positive(tool):
    with pytest.raises(ValueError, match="must be above 0"):
        tool["main"]([str(ROOT / "configs/dino_demo.py"), "--per-core", "0", "--per-gpu", "1"])

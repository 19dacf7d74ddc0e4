"""The benchmark of runs on small images measures, writes and draws."""

from __future__ import annotations

import importlib.util
import json
import runpy
from pathlib import Path

import pytest

from common.view_loader import draw_photographs

TOOL = Path(__file__).parents[3] / "tools" / "benchmarks" / "small_images.py"
tool = runpy.run_path(str(TOOL))
main = tool["main"]


def test_smoke_run_compares_whole_runs(tmp_path, capsys):
    files = [tmp_path / "small.json", tmp_path / "small.png"]
    main(["--smoke", "--json", str(files[0]), "--figure", str(files[1])])
    content = json.loads(files[0].read_text())
    assert content["command"].startswith("python tools/benchmarks/small_images.py --smoke")
    rows = {row["case"]: row for row in content["tables"]["epochs"]}
    assert rows["mmdino"]["x mmdino"] == 1
    assert rows["mmdino"]["images/s"] == pytest.approx(4 / rows["mmdino"]["median s"])
    for chain in ("mmdino", "Pillow + torchvision"):
        assert rows[f"views alone, {chain}"]["median s"] > 0
    assert rows["plain step, Pillow + torchvision"]["x mmdino"] > 0
    assert files[1].read_bytes().startswith(b"\x89PNG")
    installed = importlib.util.find_spec("lightly") is not None
    assert ("lightly's example" in rows) == installed
    assert ("lightly is not installed and was skipped" in capsys.readouterr().out) != installed


def test_our_run_is_that_of_the_config_but_for_its_length():
    arguments = ["--images", "here", "--batch", "8", "--steps", "3", "--dtype", "bf16"]
    config = tool["our_config"](tool["parser"]().parse_args(arguments))
    loader = config.train_dataloader
    assert (loader.batch_size, loader.dataset.data_root, loader.dataset.indices) == (8, "here", 24)
    assert (config.train_cfg.max_epochs, config.optim_wrapper.precision) == (1, "bfloat16")
    assert config.model.backbone.arch.embed_dims == 128
    assert [view["size"] for view in tool["views_of"](config)] == [24, 24, 12]


def test_mistakes_are_told(tmp_path):
    draw_photographs(tmp_path)
    with pytest.raises(
        ValueError, match=r"has 4 image\(s\), but --steps 15 of --batch 64 need 960"
    ):
        main(["--images", str(tmp_path)])
    with pytest.raises(ValueError, match="invalid --device cuda: the time measured"):
        main(["--device", "cuda"])

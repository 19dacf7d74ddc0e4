"""The benchmark of features learnt by others trains on small images and reports k-NN."""

from __future__ import annotations

import importlib.util
import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
main = runpy.run_path(str(ROOT / "tools" / "benchmarks" / "small_images_knn.py"))["main"]
CONFIG = str(ROOT / "configs" / "dino_resnet18_cifar10.py")


@pytest.fixture
def small_run(tmp_path):
    """Two classes of four images of 32 pixels, and the options that train on them."""
    rng = np.random.default_rng(0)
    for number in range(8):
        folder = tmp_path / "images" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    sets = ("train_dataloader", "val_dataloader", "val_cfg.bank_dataloader")
    options = [f"{name}.dataset.data_root={tmp_path / 'images'}" for name in sets]
    options += [f"{name}.num_workers=0" for name in sets]
    options += [f"{name}.dataset.every=1" for name in sets[1:]]
    options += [f"model.backbone.{name}=8" for name in ("base_channels", "stem_channels")]
    options += ["model.head.in_channels=64", "model.head.out_channels=16", "val_evaluator.k=(1,3)"]
    return [CONFIG, "--smoke", "--cfg-options", *options]


def test_each_case_trains_and_reports_both_networks(small_run, tmp_path, capsys):
    figure = tmp_path / "knn.png"
    main([*small_run, "--json", str(tmp_path / "knn.json"), "--figure", str(figure)])
    assert figure.read_bytes().startswith(b"\x89PNG")
    rows = json.loads((tmp_path / "knn.json").read_text())["tables"]["knn"]
    cases = [row["case"] for row in rows]
    installed = importlib.util.find_spec("lightly") is not None
    assert cases == ["reference"] * 4 + ["lightly"] * 4 * installed
    assert ("lightly is not installed and was skipped" in capsys.readouterr().out) != installed
    images = [row["images"] for row in rows[:4]]
    assert images == sorted(images)
    assert images[0] >= 2
    for network in ("student", "teacher"):
        assert all(0 <= row[f"{network}, {k}-NN"] <= 100 for row in rows for k in (1, 3))


@pytest.mark.slow
def test_views_are_global_alone_where_the_config_has_no_local_ones(small_run, tmp_path):
    without = [*small_run, "train_dataloader.dataset.pipeline.1.views.2.num=0"]
    main([*without, "--cases", "reference", "--json", str(tmp_path / "knn.json")])
    rows = json.loads((tmp_path / "knn.json").read_text())["tables"]["knn"]
    assert [row["case"] for row in rows] == ["reference"] * 4


def test_mistakes_are_told(small_run):
    smaller = [*small_run, "train_dataloader.dataset.indices=1"]
    with pytest.raises(ValueError, match=r"has 1 image\(s\), but --batch is 2"):
        main(smaller)
    with pytest.raises(ValueError, match="invalid --minutes 0: expected more than 0"):
        main([CONFIG, "--minutes", "0"])
    with pytest.raises(ValueError, match="invalid --workers 2 with --device cpu"):
        main([CONFIG, "--workers", "2"])

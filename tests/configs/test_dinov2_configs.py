"""Every config of DINOv2 trains past its warm-ups, as a user would start it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import tiny_pretraining
import torch
from tiny_configs import read_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "dinov2").glob("*.py"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve images in six classes."""
    return tiny_pretraining.write_images(tmp_path_factory.mktemp("images"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_trains(path, images, tmp_path):
    tiny_pretraining.main(tiny_pretraining.arguments(path, images, tmp_path / "run"))
    tiny_pretraining.assert_trained(path, tmp_path / "run")
    (scalars,) = (tmp_path / "run").rglob("scalars.json")
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    trained = [row for row in rows if "ibot" in row]
    assert trained
    for row in trained:
        assert row["dino"] + row["ibot"] + row["koleo"] == pytest.approx(row["loss"], rel=1e-4)
    assert_keeps_to_its_file(read_config(path), tmp_path)


def assert_keeps_to_its_file(cfg, folder):
    """A frozen backbone is that of the file for as long as it is frozen; a teacher is not saved."""
    after = [
        torch.load(path, weights_only=False)["state_dict"]
        for path in sorted((folder / "run").glob("epoch_*.pth"))
    ]
    freeze = cfg.default_hooks.get("backbone_freeze")
    if freeze is not None:
        released = torch.load(folder / "weights.pth", weights_only=True)
        for prefix in ("backbone.", "teacher.backbone."):
            kept = [
                all(torch.equal(state[prefix + name], tensor) for name, tensor in released.items())
                for state in after
            ]
            assert kept == [epoch <= freeze.epochs for epoch in range(1, len(after) + 1)]
            assert kept[0], "and it is frozen at first"
    if cfg.model.get("frozen_teacher"):
        digest = hashlib.sha256((folder / "weights.pth").read_bytes()).digest()
        assert bytes(after[-1]["frozen_teacher.sha256"].tolist()) == digest
        assert sum("frozen" in name for name in after[-1]) == 1

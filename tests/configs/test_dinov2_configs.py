"""Every config of DINOv2 trains past its warm-ups, as a user would start it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_pretraining
from mmengine.config import Config

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "dinov2").glob("*.py"))


@pytest.fixture(autouse=True)
def _plain_text(monkeypatch):
    """Keeps mmengine from formatting the config six times a run, most of its time."""
    monkeypatch.setattr(Config, "pretty_text", property(Config.text.fget))


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

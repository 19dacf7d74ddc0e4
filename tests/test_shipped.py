"""Shipped configs and models are found by name: by the tools, by mmengine and by mmpretrain."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmengine import hub
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mmdino.config_check.config_files import read_config
from mmdino.shipped import MIM, config_path

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("dino_demo", "dino_demo.py"),
        ("configs/dino_demo.py", "dino_demo.py"),
        ("byol_demo", "byol/byol_demo.py"),
        ("byol/byol_demo", "byol/byol_demo.py"),
        ("mmdino::dino_demo", "dino_demo.py"),
        ("mmdino::dino_demo.py", "dino_demo.py"),
        ("mmdino::byol/byol_demo.py", "byol/byol_demo.py"),
        ("mmdino::_base_/models/dino_vit.py", "_base_/models/dino_vit.py"),
        ("linear/demo", "linear/demo.py"),
    ],
)
def test_a_name_is_found_in_any_folder(tmp_path, monkeypatch, name, file):
    monkeypatch.chdir(tmp_path)
    assert Path(config_path(name)).resolve() == CONFIGS / file


def test_a_name_of_two_configs_is_no_name():
    assert config_path("demo") == "demo"


def test_a_file_goes_before_a_shipped_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dino_demo.py").touch()
    assert config_path("dino_demo.py") == "dino_demo.py"
    assert config_path("mmdino::dino_demo.py") != "dino_demo.py"


def test_a_wrong_name_has_the_nearest_in_its_message():
    with pytest.raises(FileNotFoundError, match=r"no config 'dino_dem'.*mmdino::dino_demo\.py"):
        config_path("mmdino::dino_dem")
    with pytest.raises(FileNotFoundError, match=r"'dino_dem' does not exist\. .* mean dino_demo\?"):
        read_config(config_path("dino_dem"))


def test_the_links_of_a_checkout_lead_to_its_folders():
    for name in ("configs", "tools", "model-index.yml"):
        assert (MIM / name).resolve() == CONFIGS.parent / name


@pytest.mark.parametrize("name", ["mmdino::dino_vits16.py", "mmdino::byol/byol_demo.py"])
def test_mmengines_hub_reads_our_configs(name):
    shipped = Config.fromfile(CONFIGS / name.removeprefix("mmdino::"))
    assert hub.get_config(name).to_dict() == shipped.to_dict()


def test_mmengines_hub_is_told_that_there_are_no_weights():
    with pytest.raises(ValueError, match="no weights"):
        hub.get_config("mmdino::dino_vits16.py", pretrained=True)


def test_mmengines_hub_still_refuses_packages_it_does_not_know():
    with pytest.raises(AssertionError, match="does not support"):
        hub.get_config("unknown::folder/config.py")


def test_a_config_of_another_project_inherits_ours(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text('_base_ = ["mmdino::dino_demo.py"]\ntrain_cfg = dict(max_epochs=3)\n')
    cfg = read_config(str(path))
    assert cfg.train_cfg.max_epochs == 3
    init_default_scope("mmpretrain")
    assert MODELS.build(cfg.model).backbone.__module__.startswith("mmdino.")


def run_python(code, folder):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=folder, capture_output=True, text=True
    )


def test_import_is_light(tmp_path):
    code = "import sys, mmdino; assert not {'torch', 'mmengine', 'mmpretrain'} & set(sys.modules)"
    assert not run_python(code, tmp_path).stderr


def test_a_config_can_import_us_itself(tmp_path):
    """Where nothing imports mmdino before the config is read, as in another project's tool."""
    (tmp_path / "mine.py").write_text(
        '_base_ = [__import__("mmdino") and "mmdino::_base_/models/dino_vit.py"]\n'
    )
    code = "from mmengine.config import Config; print(Config.fromfile('mine.py').model.type)"
    assert run_python(code, tmp_path).stdout.split() == ["mmdino.DINO"]


def test_mmpretrain_finds_and_runs_ours():
    from mmpretrain import FeatureExtractor, get_model, list_models

    ours = {path.stem for path in CONFIGS.glob("dino*.py")}
    assert ours <= set(list_models("*dino*"))
    model = get_model("dino_vitt4_cifar10", backbone={"out_type": "cls_token"})
    assert type(model).__name__ == "DINO"
    image = np.zeros((32, 32, 3), np.uint8)
    (feature,) = FeatureExtractor(model)(image)
    assert feature.shape == (128,)

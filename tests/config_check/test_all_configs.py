"""No false alarms: configs that work pass."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import tiny_segmentation
from mmengine.config import Config

from mmdino.config_check import check_config

OWN = Path(__file__).parents[2] / "configs"
SHIPPED = sorted(path for path in OWN.rglob("*.py") if "_base_" not in path.parts)
NOT_INSTALLED = ("there is no dataset 'COCO", "Flickr30k", "FlamingoEval", "RefCOCO", "MiniGPT4")
NEEDED_ELSEWHERE = ("Mask2FormerHead", "MaskFormerHead", "'NoCaps'", "'OCRVQA'", "'GQA'")
NO_RUN = {
    "headless": "no default_scope: weights for other projects",
    "_randaug_policies": "a part of other configs",
    "resnest": "val_cfg and test_cfg are missing",
    "in21k": "val_cfg without val_dataloader",
    "ipu": "train_cfg and optim_wrapper are missing",
    "maskfeat": "train_cfg with a type and by_epoch, which mmengine refuses",
    "bisenetv2_fcn_4xb4-ohem": "the model is called models, which nothing reads",
}
"""Configs of mmpretrain and mmsegmentation that mmengine's runner does not train from."""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(OWN)))
def test_shipped_config_has_no_mistake_and_no_doubt(path):
    cfg = Config.fromfile(path)
    if cfg.default_scope == "mmseg" and tiny_segmentation.MMCV_LITE:
        pytest.skip("mmcv-lite has no compiled operators")
    assert check_config(cfg) == []


def first_and_last_of_each_folder(root):
    """Two configs of each method: those between them differ in sizes and schedules."""
    folders = {}
    for path in sorted(root.rglob("*.py")):
        folders.setdefault(path.parent, []).append(path)
    return sorted({path for paths in folders.values() for path in (paths[0], paths[-1])})


@pytest.mark.slow
# Some of these configs have such texts.
@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@pytest.mark.parametrize("package", ["mmpretrain", "mmseg"])
def test_configs_of_other_projects_pass(package):
    folder = Path(importlib.import_module(package).__file__).parent / ".mim" / "configs"
    refused, passed = {}, 0
    for path in first_and_last_of_each_folder(folder):
        if "_base_" in path.parts or any(word in str(path) for word in NO_RUN):
            continue
        try:
            cfg = Config.fromfile(path)
        # Some are based on a package that is not installed, some mix two styles of configs.
        except (ImportError, RuntimeError):
            continue
        try:
            check_config(cfg)
            passed += 1
        except ValueError as error:
            text = str(error)
            if not any(word in text for word in (*NOT_INSTALLED, *NEEDED_ELSEWHERE)):
                refused[str(path)] = text
    if not passed:
        pytest.skip(f"{package} ships no configs")
    assert not refused
    assert passed > 80

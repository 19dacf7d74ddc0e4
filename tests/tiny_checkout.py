"""A folder like a checkout, with tiny data where the pages say that data lies."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import tifffile
import tiny_classification
import tiny_configs
import tiny_evaluations
import tiny_run
import tiny_segmentation
import tiny_tools
import tiny_weights
import torch
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.registry import MODELS
from PIL import Image
from tiny_dicom import dicom
from tiny_evaluations import save
from tiny_vit import picture

from mmdino import config_check
from mmdino.comparison import training as comparison_training
from mmdino.comparison.process import Usage
from mmdino.config_check import config_files
from mmdino.diagnostics import classifiers
from mmdino.engine import training
from mmdino.folder_recipe import prepare
from mmdino.folder_recipe.rate import Rate
from mmdino.utils import folder_lock
from mmdino.visualization.media import write_animation

CIFAR10 = ("horse", *(f"class_{label}" for label in range(1, 10)))
NETWORK = "network.pth"
"""A checkpoint for any tool that takes one."""


def write_checkout(root):
    """Writes data and files that commands name, and a checkpoint."""
    data = root / "data"
    for split in ("train", "test"):
        for label, name in enumerate(CIFAR10):
            for number in range(5):
                image = picture(5 * label + number, 32, 32)
                save(data / "cifar10" / split / name / f"{number:04}.jpg", image)
    for split in ("train", "val"):
        tiny_classification.write_images(data / "imagenet", split, 2)
    lines = [f"class_{label}/0.png {label}\n" for label in range(tiny_classification.CLASSES)]
    (data / "imagenet" / "train" / "imagenet_1pct.txt").write_text("".join(lines))
    write_photos(root / "photos")
    for name in ("my_images", "web", "seeds", "imagenet_sample"):
        (data / name).symlink_to(root / "photos")
    write_evaluations(data)
    write_other_formats(root)
    for number, name in enumerate(("photo", "image", "a", "b", "c")):
        save(root / f"{name}.jpg", picture(number))
    frames = [image for image, _ in tiny_evaluations.moving_squares(3)]
    for number, frame in enumerate(frames):
        save(root / "frames" / f"{number:05}.jpg", frame)
    write_animation(root / "walk.mp4", frames, 4)
    (root / "my_images").symlink_to(root / "photos")
    (root / "images.txt").write_text("0000.jpg\n0003.jpg\n0005.jpg\n0007.jpg\n")
    torch.manual_seed(0)
    cfg = tiny_run.vit_model()
    tiny_weights.save_training_checkpoint(root / NETWORK, MODELS.build(cfg), cfg)
    return root


def write_photos(folder):
    """Writes photographs that differ enough for copies of them to be found."""
    for number in range(16):
        small = np.random.default_rng(number).integers(256, size=(6, 6, 3), dtype=np.uint8)
        save(
            folder / f"{number:04}.jpg", cv2.resize(small, (48, 48), interpolation=cv2.INTER_CUBIC)
        )


def write_other_formats(root):
    """Writes GeoTIFFs of eight bands and DICOM files, and a checkpoint of a run on each."""
    rng = np.random.default_rng(0)
    (root / "tiles").mkdir()
    (root / "scans").mkdir()
    for number in range(16):
        values = rng.integers(4096, size=(48, 48, 8), dtype=np.uint16)
        options = {"photometric": "minisblack", "planarconfig": "contig"}
        tifffile.imwrite(root / "tiles" / f"{number}.tif", values, **options)
        (root / "scans" / f"{number}.dcm").write_bytes(dicom(values[..., 0]))
    bands = {"type": "mmdino.read_tiff", "bands": [1, 2, 3, 7], "value_range": (0, 10000)}
    save_run(root / "work_dirs" / "tiles", ".tif", bands, 4)
    save_run(root / "work_dirs" / "scans", ".dcm", {"type": "mmdino.read_dicom"}, 1)


def save_run(work_dir, extension, reader, channels):
    """Writes the checkpoint of a run on images of another format."""
    model = tiny_run.vit_model(
        data_preprocessor={"mean": [127.5] * channels, "std": [127.5] * channels}
    )
    model["backbone"]["in_channels"] = channels
    load = {"type": "mmdino.LoadImage", "channels": channels, "reader": reader}
    dataset = {"type": "mmdino.ImageFolder", "extensions": [extension], "pipeline": [load]}
    cfg = Config({"model": model, "train_dataloader": {"dataset": dataset}})
    content = {
        "state_dict": MODELS.build(model).state_dict(),
        "meta": {"cfg": tiny_configs.plain_text(cfg)},
    }
    work_dir.mkdir(parents=True)
    torch.save(content, work_dir / "epoch_100.pth")


def write_evaluations(data):
    """Writes the sets of the evaluations."""
    tiny_segmentation.write_folder(data / "ade" / "ADEChallengeData2016", range(151))
    tiny_segmentation.write_folder(data / "camvid", range(12))
    write_voc(data / "VOCdevkit" / "VOC2012")
    tiny_evaluations.write_copydays(data)
    for name in ("yfcc_10k", "yfcc_20k"):
        (data / name).symlink_to(data / "others")
    tiny_evaluations.write_lists(data / "disc")
    (data / "disc" / "pairs.csv").rename(data / "disc" / "public_ground_truth.csv")
    for name in ("roxford5k", "rparis6k"):
        tiny_evaluations.write_revisited(data, name)
    tiny_evaluations.write_video(data / "DAVIS", "dogs-jump", masks=3)
    (data / "DAVIS" / "ImageSets" / "2017").mkdir(parents=True)
    (data / "DAVIS" / "ImageSets" / "2017" / "val.txt").write_text("dogs-jump\n")


def write_voc(root):
    """Writes two images with an object."""
    for number in range(2):
        image = picture(number)
        save(root / "JPEGImages" / f"{number}.jpg", image)
        mask = Image.fromarray(np.uint8(15 * (image.min(2) > 120)))
        mask.putpalette([(5 * value) % 256 for value in range(3 * 256)])
        path = root / "SegmentationClass" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        mask.save(path)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("0\n1\n")


def link_checkout(source, folder):
    """Links to a checkout that was written once, so that what is added is not in it."""
    folder.mkdir(exist_ok=True)
    for path in source.iterdir():
        if path.name in ("data", "work_dirs"):
            (folder / path.name).mkdir()
            for part in path.iterdir():
                (folder / path.name / part.name).symlink_to(part)
        else:
            (folder / path.name).symlink_to(path)
    for name in ("configs", "tools"):
        (folder / name).symlink_to(tiny_tools.ROOT / name)
    (folder / "docs" / "images").mkdir(parents=True)
    return folder


@contextmanager
def tiny_runs(monkeypatch, kept):
    """Makes every config that is read and checked one of a short run, with its weights.

    Epochs are one. The checkpoint of the last has the name that it would have without that.

    Args:
        monkeypatch: The fixture.
        kept: Folder for copies of finished runs, which stand for the same runs later.
    """
    made, lengths = set(), {}
    check, train = config_check.check_config, training.train
    load_classifier, savefig = classifiers.load_classifier, Figure.savefig

    def check_and_shrink(cfg, *arguments, **options):
        found = check(cfg, *arguments, **options)
        lengths[cfg.get("work_dir")] = cfg.get("train_cfg", {}).get("max_epochs")
        tiny_configs.shrink(cfg)
        tiny_configs.write_missing_weights(cfg, made)
        return found

    def train_once(cfg, resume=None):
        own = {"experiment_name": "", "resume": resume, "length": lengths[cfg.work_dir]}
        text = tiny_configs.plain_text({**cfg.to_dict(), **own})
        kept_run = kept / hashlib.sha256(text.encode()).hexdigest()
        if not kept_run.exists():
            if resume is not None:
                # One more than that of the run that is resumed.
                cfg.train_cfg.max_epochs = 2
            train(cfg, resume)
            if lengths[cfg.work_dir] is not None:
                last = Path(cfg.work_dir, f"epoch_{cfg.train_cfg.max_epochs}.pth")
                last.rename(last.with_stem(f"epoch_{lengths[cfg.work_dir]}"))
            shutil.copytree(cfg.work_dir, kept_run)
        else:
            shutil.copytree(kept_run, cfg.work_dir, dirs_exist_ok=True)

    def make_and_load(cfg, checkpoint):
        if tiny_configs.may_be_made(checkpoint):
            Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)
            torch.save({"state_dict": MODELS.build(cfg).state_dict()}, checkpoint)
        return load_classifier(cfg, checkpoint)

    monkeypatch.setattr(config_files, "read_config", tiny_configs.read_config)
    monkeypatch.setattr(config_check, "check_config", check_and_shrink)
    monkeypatch.setattr(training, "train", train_once)
    monkeypatch.setattr("mmdino.folder_recipe.pretraining.train", train_once)
    monkeypatch.setattr(classifiers, "load_classifier", make_and_load)
    monkeypatch.setattr(prepare, "measure_rate", lambda cfg: Rate(0.5, 9, 4, 0.0))

    def draw_roughly(figure, *arguments, **options):
        # Layout takes longer than all else, and figures have tests of their own.
        figure.set_layout_engine("none")
        savefig(figure, *arguments, **{**options, "dpi": 20})

    monkeypatch.setattr(Figure, "savefig", draw_roughly)
    monkeypatch.setattr(comparison_training, "TrainingProcess", TrainingHere)
    monkeypatch.setattr(comparison_training, "SECONDS_BETWEEN_LOOKS", 0)
    # mmengine's own layout of it takes longer than the run.
    monkeypatch.setattr(Config, "pretty_text", property(tiny_configs.plain_text))
    with process_restored():
        yield


class TrainingHere:
    """In place of a process that trains for a comparison."""

    exit_code = 0

    def __init__(self, command, log, threads=None):
        tiny_tools.main_of("train.py")(command[2:])

    def poll(self):
        return self.exit_code

    def usage(self):
        return Usage()

    def end(self):
        pass


@contextmanager
def process_restored():
    """Gives back what tools change of the process: threads, environment, log level and locks."""
    threads, level = torch.get_num_threads(), logging.getLogger().level
    environment, held = dict(os.environ), set(folder_lock._held)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        logging.getLogger().setLevel(level)
        os.environ.clear()
        os.environ.update(environment)
        for lock in set(folder_lock._held) - held:
            folder_lock.unlock_folder(lock.parent)

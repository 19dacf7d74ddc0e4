"""How images enter a network: how their files are loaded and their pixels normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import mmengine.registry as root
import torch

import mmdino.registry  # noqa: F401  # the scope, with the readers of this project
from mmdino.datasets.image_folder import EXTENSIONS
from mmdino.evaluation.extraction_options import CROP, SIZE
from mmdino.evaluation.image_input import Statistics
from mmdino.models.preprocessors.multi_view_preprocessor import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    LEVELS_16_TO_8,
)
from mmdino.utils.config_text import literal_config
from mmdino.utils.registered import registered

FROM_FILE, BY_READER = "LoadImageFromFile", "mmdino.LoadImage"
KEPT = {FROM_FILE: ("color_type", "imdecode_backend"), BY_READER: ("reader", "channels")}
"""Options of the transforms that load an image, of those in a config."""
SCOPES = ("mmengine",)
MAX_SIDE = 2**12
"""Largest side in pixels that a file may ask for."""


@dataclass(frozen=True)
class ImageInput:
    """How images enter a network.

    Args:
        load: The transform that loads an image.
        extensions: Extensions of the files that are images.
        mean: Mean of each channel, 0 to 255.
        std: Standard deviation of each channel, likewise.
        bgr_to_rgb: Whether to reverse the channels of three-channel images.
        size: Shorter side that images are resized to, in pixels; None if it is not known.
        crop: Side of the central square that is kept, likewise.
    """

    load: Mapping[str, Any] = field(default_factory=lambda: {"type": FROM_FILE})
    extensions: Sequence[str] = EXTENSIONS
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    bgr_to_rgb: bool = True
    size: int | None = None
    crop: int | None = None

    @property
    def is_color(self) -> bool:
        """Whether images are loaded in three colours of 8 bits, as most are."""
        return self.load == {"type": FROM_FILE}

    @property
    def preprocessor(self) -> dict[str, Any]:
        """Config of the preprocessor."""
        return {
            "type": "mmdino.MultiViewPreprocessor",
            "mean": self.mean,
            "std": self.std,
            "bgr_to_rgb": self.bgr_to_rgb,
        }

    def plan(self) -> dict[str, Any] | None:
        """Returns what pixels depend on beside sizes, as JSON values; None if it is as usual."""
        pixels = replace(self, extensions=EXTENSIONS, size=None, crop=None)
        if pixels == ImageInput():
            return None
        return {name: getattr(self, name) for name in ("load", "mean", "std", "bgr_to_rgb")}


def stored_input(meta: Any, may_fail: bool = True) -> ImageInput:
    """Returns how images enter the network of a checkpoint, as the config of its run says.

    Args:
        meta: ``meta`` of the checkpoint; without a config, images are in colour and ImageNet's mean
            and deviation are taken.
        may_fail: Whether to refuse a reader that is not registered here; else it is left out.

    Raises:
        ValueError: If the run read its images with a function that is not registered here.
    """
    text = meta.get("cfg") if isinstance(meta, Mapping) else None
    cfg = literal_config(text) if isinstance(text, str) else {}
    # mmpretrain has the preprocessor of a model in either place.
    statistics = _statistics(cfg.get("model")) or _statistics(cfg)
    found = {**statistics, **_loading(cfg.get("train_dataloader"), may_fail)}
    if "load" not in found:
        # Another data set may give RGB; files are BGR.
        found.pop("bgr_to_rgb", None)
    return ImageInput(**found, **_sizes(cfg))


def stored_statistics(meta: Any) -> Statistics:
    """Returns the mean and deviation of a network's images, as :func:`stored_input` finds them.

    Args:
        meta: ``meta`` of the checkpoint.
    """
    # Who has the pixels at hand needs no reader.
    stored = stored_input(meta, may_fail=False)
    return Statistics(stored.mean, stored.std)


def read_by(
    stored: ImageInput, reader: str | Mapping[str, Any], extensions: Sequence[str] | None
) -> ImageInput:
    """Returns an input whose images a function reads.

    Args:
        stored: The input of the network.
        reader: Name of the function, or a dict of it (``type``) and its arguments.
        extensions: Extensions of its files; by default those of the run, or of usual images.

    Raises:
        ValueError: If the function is not registered.
    """
    name = reader.get("type") if isinstance(reader, Mapping) else reader
    # Named by the user, not by a file: its module may be imported, which mmengine does.
    function = root.FUNCTIONS.get(name) if isinstance(name, str) else None
    if function not in root.FUNCTIONS.module_dict.values():
        _require_reader(reader)
    load = {"type": BY_READER, "reader": reader, "channels": len(stored.mean)}
    return replace(stored, load=load, extensions=tuple(extensions or stored.extensions))


def resize_of(channels: int) -> dict[str, str]:
    """Returns how images that are not in colours of 8 bits are resized: options of ResizeEdge.

    Pillow knows no others, and OpenCV averages areas of at most four channels.
    """
    return {"backend": "cv2", "interpolation": "area" if channels <= 4 else "bilinear"}


def to_float(sample: dict) -> dict:
    """Converts the ``inputs`` of a sample to float, 0 to 255, since images may differ in bits."""
    inputs = sample["inputs"]
    scale = LEVELS_16_TO_8 if inputs.dtype == torch.uint16 else 1
    sample["inputs"] = inputs.to(torch.float32) / scale
    return sample


def _statistics(model: Any) -> dict[str, Any]:
    entry = model.get("data_preprocessor") if isinstance(model, Mapping) else None
    entry = entry if isinstance(entry, Mapping) else {}
    values = [entry.get(name) for name in ("mean", "std")]
    if not all(isinstance(v, list) and all(isinstance(n, int | float) for n in v) for v in values):
        return {}
    found = {"mean": tuple(values[0]), "std": tuple(values[1])}
    # The second is the name of classifiers.
    return {**found, "bgr_to_rgb": entry.get("bgr_to_rgb", entry.get("to_rgb")) is not False}


def _dataset(loader: Any) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Returns the config of a data set with a pipeline, and its steps, without wrappers."""
    dataset = loader.get("dataset") if isinstance(loader, Mapping) else None
    while isinstance(dataset, Mapping) and "pipeline" not in dataset:
        dataset = dataset.get("dataset")
    dataset = dataset if isinstance(dataset, Mapping) else {}
    steps = dataset.get("pipeline")
    steps = steps if isinstance(steps, list) else []
    return dataset, [step for step in steps if isinstance(step, Mapping)]


def _sizes(cfg: Mapping[str, Any]) -> dict[str, int]:
    """Returns the sizes of the validation, or those for the network's own images."""
    _, steps = _dataset(cfg.get("val_dataloader"))
    by_type = {str(_kind(step)): step for step in steps}
    size = by_type.get("ResizeEdge", {}).get("scale")
    crop = by_type.get("CenterCrop", {}).get("crop_size")
    if not (_is_side(size) and _is_side(crop) and crop <= size):
        model = cfg.get("model")
        backbone = model.get("backbone") if isinstance(model, Mapping) else None
        crop = backbone.get("img_size") if isinstance(backbone, Mapping) else None
        crop = min(crop) if isinstance(crop, list) and all(map(_is_side, crop)) and crop else crop
        size = round(crop * SIZE / CROP) if _is_side(crop) else None
    return {"size": size, "crop": crop} if size else {}


def _kind(step: Mapping[str, Any]) -> Any:
    """Returns the type of a transform, without the scope of those that need none."""
    kind = step.get("type")
    scoped = isinstance(kind, str) and kind.startswith(("mmcv.", "mmpretrain."))
    return kind.split(".")[-1] if scoped else kind


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SIDE


def _loading(loader: Any, may_fail: bool) -> dict[str, Any]:
    dataset, steps = _dataset(loader)
    for step in steps:
        kind = _kind(step)
        if kind not in KEPT:
            continue
        if kind == BY_READER and may_fail:
            _require_reader(step.get("reader"))
        options = {name: step[name] for name in KEPT[kind] if step.get(name) is not None}
        if options.get("color_type") == "color":
            del options["color_type"]
        found = {"load": {"type": kind, **options}}
        extensions = dataset.get("extensions")
        if isinstance(extensions, list) and all(isinstance(each, str) for each in extensions):
            found["extensions"] = tuple(each.lower() for each in extensions)
        return found
    return {}


def _require_reader(reader: Any) -> None:
    name = reader.get("type") if isinstance(reader, Mapping) else reader
    if not isinstance(name, str) or registered(root.FUNCTIONS, name, SCOPES) is None:
        raise _unknown_reader(name)


def _unknown_reader(name: Any) -> ValueError:
    return ValueError(
        f"The images are read by {repr(name)[:80]}, which is not registered here. mmdino has "
        "mmdino.read_tiff and mmdino.read_dicom; one of your own is named with its module, such as "
        "--reader my_readers.read_npy for my_readers.py on PYTHONPATH."
    )

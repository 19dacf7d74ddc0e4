"""``mmdino doctor``: what this installation has, and what it lacks, with the command for it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from importlib.util import find_spec
from typing import NamedTuple

from mmdino_cli.processor import bfloat16_instructions, cpu_info, usable_cores

DISTRIBUTIONS = ("mmengine", "mmcv", "mmpretrain", "mmsegmentation")
"""Those of OpenMMLab, each of which may also be there as ``onedl-`` or ``-lite``."""


class Optional(NamedTuple):
    """A package that a part of mmdino needs."""

    module: str
    purpose: str
    extra: str
    """The extra of mmdino that installs it."""


OPTIONAL = (
    Optional("mmseg", "segmentation", "onedl"),
    Optional("sklearn", "logistic-regression, linear accuracy in compare", "evaluate"),
    Optional("faiss", "curate, duplicates, FAISS indices", "curate"),
    Optional("scipy", "curate", "curate"),
    Optional("pyarrow", "Parquet: embed, lists of images", "parquet"),
    Optional("tifffile", "GeoTIFF", "geotiff"),
    Optional("imagecodecs", "compressed GeoTIFF", "geotiff"),
    Optional("pydicom", "DICOM", "dicom"),
    Optional("tensorboard", "logging to TensorBoard", "tensorboard"),
    Optional("wandb", "logging to Weights & Biases", "wandb"),
    Optional("mlflow", "logging to MLflow", "mlflow"),
    Optional("timm", "convert, for comparison", "convert"),
    Optional("transformers", "convert, for comparison", "convert"),
    Optional("onnx", "export-onnx", "convert"),
    Optional("onnxruntime", "export-onnx", "convert"),
)


def report() -> tuple[list[str], list[str]]:
    """Returns the lines to print, and of those the problems that keep mmdino from working."""
    problems = _problems()
    lines = [
        f"mmdino      {version('mmdino') or 'not installed (run from a checkout)'}",
        f"Python      {platform.python_version()} ({sys.executable})",
        f"system      {platform.platform()}",
        *_torch_lines(),
        *_openmmlab_lines(),
        f"cores       {usable_cores()} of {os.cpu_count()} usable here; bfloat16 instructions: "
        f"{', '.join(bfloat16_instructions(cpu_info())) or 'none found'}",
        f"free disk   {shutil.disk_usage('.').free / 1e9:.0f} GB in {os.getcwd()}",
        *(f"optional    {line}" for line in missing(lambda name: find_spec(name) is not None)),
        *(f"problem     {line}" for line in problems),
    ]
    return lines, problems


def version(distribution: str) -> str | None:
    """Returns the installed version of a distribution, None if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def missing(is_there: Callable[[str], bool]) -> list[str]:
    """Returns a line for each optional package that is not installed.

    Args:
        is_there: Whether a module can be found.
    """
    return [
        f'{name} is not installed ({purpose}): pip install "mmdino[{extra}]"'
        for name, purpose, extra in OPTIONAL
        if not is_there(name)
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the report; the exit code is 1 if mmdino does not work here."""
    parser = argparse.ArgumentParser(prog="mmdino doctor", description=__doc__)
    parser.parse_args(argv)
    lines, problems = report()
    print("\n".join(lines))
    sys.exit(1 if problems else 0)


def _problems() -> list[str]:
    """What keeps mmdino from working."""
    try:
        import mmdino  # noqa: F401
    except ImportError as error:
        return [str(error)]
    try:
        import mmpretrain  # noqa: F401
    # Whatever an installation that does not fit together raises is what to report.
    except Exception as error:
        return [f"mmpretrain cannot be imported: {type(error).__name__}: {error}"]
    return []


def _torch_lines() -> list[str]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [f"torch       cannot be imported: {error}. https://pytorch.org/get-started/locally"]
    devices = [
        torch.cuda.get_device_name(index)
        + ("" if torch.cuda.get_device_capability(index) >= (8, 0) else " (no bfloat16)")
        for index in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        devices.append("Apple GPU")
    return [
        f"torch       {torch.__version__}, torchvision {version('torchvision')}, CUDA "
        f"{torch.version.cuda or 'not built in'}, {torch.get_num_threads()} threads",
        f"devices     {', '.join(devices) or 'CPU only'}",
    ]


def _openmmlab_lines() -> list[str]:
    found = []
    for name in DISTRIBUTIONS:
        names = (name, f"onedl-{name}", f"{name}-lite")
        found += [f"{each} {number}" for each in names if (number := version(each))]
    return [f"OpenMMLab   {', '.join(found) or 'not installed'}"]

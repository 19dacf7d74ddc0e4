"""Features of any folder of images, in a folder or a file."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from mmengine.registry import init_default_scope

from mmdino.datasets.folder_listing import HIDDEN_FOLDERS, LeftOut, list_classes, list_images
from mmdino.datasets.image_folder import EXTENSIONS
from mmdino.evaluation.bank_extraction import Evaluated, load_evaluated, make_bank, plan_of
from mmdino.evaluation.bank_files import check_encodable, format_of, open_features
from mmdino.evaluation.bank_images import (
    COLOR,
    BankImages,
    BankShards,
    all_images,
    images_of_shards,
    labelled_images,
)
from mmdino.evaluation.extraction_options import LABELS, ExtractionOptions
from mmdino.evaluation.feature_bank import PART_SIZE, FeatureBank, check_same_plan
from mmdino.evaluation.stored_input import ImageInput
from mmdino.utils.command_line import require_outside
from mmdino.utils.printable import printable
from mmdino.weights.networks import Network

SHARD = ".tar"
WILDCARDS = re.compile(r"[*?\[{]")
UNFINISHED = ".unfinished"
"""What follows the name of a file in that of the folder that its features are computed in."""
Labels = Literal["auto", "folders", "none"]


def embed(
    checkpoint: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    list: str | Path | None = None,
    labels: Labels = "auto",
    network: Network = "teacher",
    num_heads: int | None = None,
    reader: str | Mapping[str, Any] | None = None,
    extensions: Sequence[str] | None = None,
    **options: object,
) -> FeatureBank:
    """Computes the features of all images of a folder, or what an interrupted call left over.

    Images are loaded and normalised as the run did, if the checkpoint has its config.

    Images that cannot be read are left out, and named in ``unreadable.jsonl`` of the folder.

    Args:
        checkpoint: File of weights, of this project or another.
        images: Folder of images, at any depth; a file that lists them, relative to its folder; or
            tar shards of WebDataset: a file, a pattern such as ``"data/train-{000..146}.tar"``, or
            a folder of them without images at any depth.
        out: A folder, or a file whose suffix is the format: ``.npz``, ``.parquet`` (needs pyarrow)
            or ``.faiss`` (needs faiss; vectors of length 1).
        list: File that lists the images to use, relative to ``images``.
        labels: ``"folders"``: the folders of the first level are classes, as k-NN and logistic
            regression need; of shards, the class indices in them; ``"none"``; ``"auto"``: if all
            images are in such folders.
        network: Which network of a checkpoint that has both.
        num_heads: Number of heads of a ViT, if the file does not say.
        reader: Function that reads the images, such as ``"mmdino.read_tiff"``, in place of that of
            the run; or a dict of it (``type``) and its arguments.
        extensions: Extensions of the files for ``reader``, such as ``[".dcm"]``.
        **options: Fields of :class:`~mmdino.evaluation.extraction_options.ExtractionOptions`, such
            as ``size=32, crop=32`` for small images.

    Returns:
        The features: ``bank[:]`` (N, D), ``bank.names`` and ``bank.labels``.

    Raises:
        FileNotFoundError: If the checkpoint or the folder is missing, or it has no images.
        ModuleNotFoundError: If the format needs a package that is not installed.
        ValueError: If an option is invalid, ``out`` lies among the images or holds other features,
            or no image can be read.

    Example:
        >>> bank = mmdino.embed("epoch_12.pth", "photos", "photos.npz", size=64, crop=48)
        >>> dict(zip(bank.names, bank[:]))
    """
    extraction = ExtractionOptions(**options)
    format_of(out)
    init_default_scope("mmpretrain")
    call = f"mmdino.embed({str(checkpoint)!r}, {str(images)!r}, {str(out)!r}, ...)"
    evaluated = load_evaluated(checkpoint, network, num_heads, reader=reader, extensions=extensions)
    dataset = images_of(images, extraction, labels, list, image_input=evaluated.image_input)
    return embed_images(evaluated, dataset, out, extraction, call)


def images_of(
    images: str | Path,
    options: ExtractionOptions,
    labels: Labels = "auto",
    listed: str | Path | None = None,
    fraction: float = 1.0,
    fraction_seed: int = 0,
    image_input: ImageInput = COLOR,
) -> BankImages:
    """Builds the data set of a folder, a list or tar shards.

    Args:
        images: As :func:`embed` takes them.
        options: Sizes, and which images to use.
        labels: As :func:`embed` takes them.
        listed: File that lists the images to use, relative to the folder.
        fraction: Fraction of the images of each class to use.
        fraction_seed: Seed of that draw.
        image_input: How images enter the network.

    Raises:
        FileNotFoundError: If the folder or the list is missing, or has no images.
        ValueError: If ``labels`` is unknown, a file is no list, or a list or a folder without
            classes is combined with what needs classes.
    """
    if labels not in LABELS:
        raise ValueError(f"invalid labels={labels!r}: expected one of {', '.join(LABELS)}.")
    path, extensions = Path(images), tuple(image_input.extensions)
    if has_shards(path, extensions):
        if listed is not None:
            raise ValueError(
                f"A list of images was given together with the shards {printable(images)}, which "
                "have an order of their own. Leave it out; --every n takes every n-th image."
            )
        with_label = labels == "folders" or fraction != 1
        chosen = {"fraction": fraction, "fraction_seed": fraction_seed} if with_label else {}
        folder, pattern = shards_in(path)
        return images_of_shards(
            folder, pattern, options, image_input, with_label=with_label, **chosen
        )
    if not path.exists():
        raise FileNotFoundError(
            f"The images {printable(images)!r} do not exist. Give a folder of images, a file that "
            "lists them, or tar shards."
        )
    if path.is_file():
        if listed is not None or path.name.lower().endswith(extensions):
            raise ValueError(
                f"{printable(path)} is a file. Give a folder of images, or a file that lists them, "
                "one path a line, relative to the folder of the file."
            )
        path, listed = path.parent, path
    if listed is not None and (labels == "folders" or fraction != 1):
        raise ValueError(
            "A list of images has no classes: leave out --labels folders and --fraction."
        )
    if listed is None and path.is_dir() and (tars := _tars_in(path)):
        more = ", ..." if len(tars) > 1 else ""
        print(
            f"{printable(path)} has images of its own: {len(tars)} tar file(s) beside them are "
            f"left out ({printable(tars[0])}{more}). For those instead, give "
            f"{printable(path / '*.tar')!r}."
        )
    with_labels = labels == "folders" or fraction != 1
    if labels == "auto" and listed is None and path.is_dir():
        with_labels |= has_class_folders(path, extensions)
    if with_labels and labels != "none":
        return labelled_images(path, options, fraction, fraction_seed, image_input)
    if fraction != 1:
        raise ValueError(
            f"--fraction {fraction} is of each class, and --labels none leaves out the classes. "
            "Leave out one of them; --every n takes every n-th image."
        )
    return all_images(path, options, None if listed is None else str(listed), image_input)


def has_shards(path: Path, extensions: Sequence[str] = EXTENSIONS) -> bool:
    """Whether a path names tar files, or a folder that has them and no image at any depth.

    A downloaded archive often stays beside what was unpacked from it.
    """
    if path.is_dir():
        return bool(_tars_in(path)) and not list_images(str(path), extensions, LeftOut())
    return path.name.lower().endswith(SHARD)


def _tars_in(folder: Path) -> list[str]:
    """Returns the names of the tar files in a folder, in ascending order."""
    files = (entry.name for entry in os.scandir(folder) if entry.is_file())
    return sorted(name for name in files if name.lower().endswith(SHARD))


def shards_in(path: Path) -> tuple[Path, str]:
    """Returns the folder of shards and their pattern, for a path of which :func:`has_shards`."""
    if path.is_dir():
        return path, f"*{SHARD}"
    folder = path.parent
    while WILDCARDS.search(str(folder)) and not folder.is_dir():
        folder = folder.parent
    return folder, str(path.relative_to(folder))


def has_class_folders(folder: str | Path, extensions: Sequence[str] = EXTENSIONS) -> bool:
    """Whether all images below a folder are in folders of its first level, each with some.

    Hidden folders do not count.
    """
    beside = LeftOut()
    classes = list_classes(str(folder), extensions, beside)
    return (
        bool(classes)
        and all(reason == HIDDEN_FOLDERS for reason, _ in beside.counts)
        and all(list_images(str(folder), extensions, LeftOut(), name) for name in classes)
    )


def embed_images(
    evaluated: Evaluated,
    images: BankImages,
    out: str | Path,
    options: ExtractionOptions,
    command: str,
    part_size: int = PART_SIZE,
) -> FeatureBank:
    """Computes the features of a data set into a folder or a file.

    Those of a file are computed in a folder beside it, which is removed when the file is written.

    Args:
        evaluated: The network.
        images: The images, with the same options.
        out: The folder or file.
        options: How the features are computed.
        command: The command that resumes it, for messages.
        part_size: Images that an interruption may lose.

    Raises:
        ModuleNotFoundError: If the format needs a package that is not installed.
        ValueError: If ``out`` lies among the images or holds something else.
    """
    out = Path(out)
    written = format_of(out)
    if written is None:
        _require_outside(out, images)
        return make_bank(evaluated, images, out, options, command, part_size)
    check_encodable(images.names(), out)
    if out.is_file() and not options.overwrite:
        bank = written.read(out)
        check_same_plan(out, bank.plan, plan_of(evaluated, images, options))
        print(f"{printable(out)}: the features of {len(bank)} images are there already.")
        return bank
    unfinished = out.with_name(out.name + UNFINISHED)
    _require_outside(unfinished, images)
    bank = make_bank(evaluated, images, unfinished, options, command, part_size)
    written.write(bank, out)
    shutil.rmtree(unfinished)
    return open_features(out)


def _require_outside(out: Path, images: BankImages) -> None:
    """Checks that features are not written into a folder that is searched for images."""
    if images.list is None and not isinstance(images, BankShards):
        require_outside(out, images.img_prefix)

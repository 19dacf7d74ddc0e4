"""The config that a recipe is written as: short, with a reason beside each choice."""

from __future__ import annotations

import keyword
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmdino.datasets.transforms.load_image import LoadImage
from mmdino.evaluation.stored_input import resize_of
from mmdino.folder_recipe.images import evenly
from mmdino.folder_recipe.recipe import SIZES, Recipe, Size
from mmdino.utils.atomic_write import atomic_write
from mmdino.utils.printable import printable

BASE = "mmdino::dino_folder.py"
PLACE = Path("recipe", "pretrain.py")
"""The config in the work dir; beside the checkpoints mmengine writes a resolved copy."""
MAX_QUERIES, MAX_BANK = 2000, 10000
LINE = 100
HEADER = """\
# Written by "mmdino train --data". Change what you like; then
#   mmdino train {file}
# or python tools/train.py with the same file trains with it, from anywhere.
"""
BODY = """
model = dict(
    backbone=dict(
        {arch},
        img_size=eval_size,
        patch_size=patch_size,
        in_channels=channels,
        drop_path_rate={drop_path},
    ),
    head=dict(
        in_channels={width},
        out_channels=num_prototypes,{head}
        use_bn=head_batch_norm,
    ),
    loss=dict(teacher_temp=teacher_temp, center_momentum=center_momentum),
    koleo_weight=koleo_weight,{preprocessor}
)
{common}_views = [
    dict(num=1, size=global_size, scale=(0.4, 1.0){global_blur}{rest}),
    dict(num=1, size=global_size, scale=(0.4, 1.0){other_blur}, solarize_prob=0.2{rest}),
    dict(num=local_views, size=local_size, scale=local_scale{local_blur}{rest}),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    pin_memory=pin_memory,
    dataset=dict(
        **_images,
        hold_out=hold_out,
        pipeline=[
            {load},
            dict(type="mmdino.MultiCropTransform", views=_views),
            dict(type="mmdino.PackViews"),
        ],
    ),
)
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    accumulative_counts=accumulative_counts,
    precision=precision,
)
param_scheduler = [
    dict(_base_.lr_schedule, warmup=warmup_epochs),
    dict(_base_.decay_schedule, end_value=weight_decay_end),
]
default_hooks = dict(
    logger=dict(interval=log_interval),
    ema_teacher=dict(momentum=momentum),
    last_layer_freeze=dict(epochs=freeze_epochs),
    teacher_temp_warmup=dict(start=teacher_temp),
    checkpoint=checkpoint,
    unreadable_images=dict(limit=unreadable_limit),
    report=dict(type="mmdino.ReportHook", interval=2),  # every second validation: report.html
)
train_cfg = dict(max_epochs=max_epochs, val_interval=val_interval, val_at_start={validates})
"""
KNN = """
# The folders of the first level look like classes, so that the log has the accuracy of nearest
# neighbours: of {queries:,} images among {bank:,} others. No label is used in training.
_knn = dict(
    batch_size=64,
    num_workers=num_workers,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
)
_labelled = dict(
    type="mmdino.ImageFolder",
    data_root=data_root,
    with_label=True,
    classes=[
{classes}
    ],
    pipeline=[
        {load},
        dict(
            type="ResizeEdge",
            scale=eval_resize,
            edge="short",
            backend="{backend}",
            interpolation="{interpolation}",
        ),
        dict(type="CenterCrop", crop_size=eval_size),
        dict(type="PackInputs"),
    ],
)
_bank_file = {bank_file}
_query_file = {query_file}
val_dataloader = dict(dataset=dict(ann_file=_query_file, **_labelled), **_knn)
val_cfg = dict(
    type="mmdino.KNNValLoop",
    bank_dataloader=dict(dataset=dict(ann_file=_bank_file, **_labelled), **_knn),
)
val_evaluator = [
    dict(type="mmdino.KNNMetric", k=(10, 20), temperature=0.07),
    dict(type="mmdino.RidgeProbeMetric"),
    dict(type="mmdino.LabelFreeMetric"{few}),{bound}
]
"""
VIEWS = """
# Of images that training does not see: nearest neighbours that two views share, and effective ranks
# of the features. Compare them with those of the start.
val_dataloader = dict(
    batch_size=64,
    num_workers=num_workers,
    sampler=dict(type="mmdino.EpochSampler", shuffle=False, seed=0),  # each time the same views
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        **_images,
        hold_out=hold_out,
        held_out=True,
        pipeline=[
            {load},
            dict(
                type="mmdino.MultiCropTransform",
                views=[dict(num=4, size=eval_size, scale=(0.4, 1.0){rest})],
            ),
            dict(type="mmdino.PackViews"),
        ],
    ),
)
val_cfg = dict(type="mmdino.ViewValLoop")
val_evaluator = dict(type="mmdino.LabelFreeMetric"{few}){bound}
"""
TINY_HEAD = "\n        hidden_channels=512,\n        bottleneck_channels=128,"
NO_COLORS = "saturation=0, hue=0, gray_prob=0"
GRAY_STATISTICS = (116.28, 57.12)
"""Mean and deviation of ImageNet's green, which is near to those of its grey."""


class KNNSplit(NamedTuple):
    """Images that vote and images that are asked for, each with the index of its class."""

    classes: tuple[str, ...]
    bank: tuple[tuple[str, int], ...]
    queries: tuple[tuple[str, int], ...]


def knn_split(classes: Mapping[str, Sequence[str]]) -> KNNSplit:
    """Splits images into a bank and queries, every second one of a class each, limited in number.

    Args:
        classes: Names of the images of each class.
    """
    bank, queries = [], []
    for label, names in enumerate(classes.values()):
        # A list of images cannot hold others.
        listable = [name for name in names if "\n" not in name and name == name.strip()]
        for rows, part, most in ((bank, 0, MAX_BANK), (queries, 1, MAX_QUERIES)):
            chosen = evenly(listable[part::2], max(1, most // len(classes)))
            rows += [(name, label) for name in chosen]
    return KNNSplit(tuple(classes), tuple(bank), tuple(queries))


def config_path_in(work_dir: str | Path) -> Path:
    """Returns the path of the config that belongs to a work dir."""
    return Path(work_dir) / PLACE


def write_config(
    recipe: Recipe,
    about: str,
    data_root: str,
    work_dir: str | Path,
    split: KNNSplit | None = None,
    source: Mapping[str, Any] | None = None,
    reader: str | Mapping[str, Any] | None = None,
) -> Path:
    """Writes a recipe, and the lists of images for k-NN if there are any.

    Args:
        recipe: The recipe.
        about: Lines about images and machine, which go into the file.
        data_root: Absolute path of the images.
        work_dir: Work dir of the run.
        split: What k-NN compares.
        source: What the data set needs beside ``data_root``, as :class:`FolderFacts` has it.
        reader: Function that reads the images; None for usual ones.

    Returns:
        The path of the config.
    """
    path = config_path_in(work_dir).resolve()
    lists = {}
    if split is not None:
        for name, rows in (("bank", split.bank), ("queries", split.queries)):
            lists[name] = path.parent / f"knn_{name}.txt"
            with atomic_write(lists[name]) as partial:
                partial.write_bytes(b"".join(os.fsencode(f"{n} {label}\n") for n, label in rows))
    text = config_text(recipe, about, data_root, path, split, lists, source or {}, reader)
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def config_text(
    recipe: Recipe,
    about: str,
    data_root: str,
    path: Path,
    split: KNNSplit | None,
    lists: Mapping[str, Path],
    source: Mapping[str, Any],
    reader: str | Mapping[str, Any] | None = None,
) -> str:
    """Returns the text of the config."""
    network = SIZES[recipe["network"]]
    left_out = ("network", "blur_sigma", *(["eval_resize"] if split is None else []))
    lines = [
        HEADER.format(file=printable(path)),
        *(_comment(line) for line in about.splitlines()),
        f'_base_ = ["{BASE}"]\n',
        f"data_root = {_literal(data_root)}",
        f"work_dir = {_literal(str(path.parent.parent))}",
        *([] if reader is None else _reader(reader)),
        f"_images = dict({_data_set(source)})\n",
        _comment(recipe.choices["network"].reason + " Its layers are below."),
    ]
    for name, (value, reason) in recipe.choices.items():
        if name not in left_out:
            lines.append(_assignment(name, value, reason))
    if recipe["blur_sigma"] is None:
        lines.append(_comment(recipe.choices["blur_sigma"].reason))
    else:
        lines.append(_assignment("blur_sigma", *recipe.choices["blur_sigma"]))
    options = _view_options(recipe["channels"] == 3, blurred=recipe["blur_sigma"] is not None)
    body = BODY.format(
        arch=f'arch="{network.arch}"' if network.arch else _arch(network),
        width=network.width,
        drop_path=0.1 if network.arch else 0.0,
        head="" if network.arch else TINY_HEAD,
        preprocessor=_preprocessor(recipe),
        load=_load(reader),
        **options,
        validates=split is not None or recipe["hold_out"] > 0,
    )
    text = "\n".join(lines) + "\n" + body
    if split is not None:
        deep = reader is not None or recipe["color_type"] == "unchanged"
        resize = {"backend": "pillow", "interpolation": "bicubic"}
        text += KNN.format(
            queries=len(split.queries),
            bank=len(split.bank),
            classes=textwrap.indent(
                ",\n".join(_literal(name) for name in split.classes) + ",", " " * 8
            ),
            query_file=_literal(str(lists["queries"])),
            bank_file=_literal(str(lists["bank"])),
            load=_load(reader),
            **(resize_of(recipe["channels"]) if deep else resize),
            **_few_images(len(split.queries), network),
        )
    elif recipe["hold_out"]:
        text += VIEWS.format(
            rest=options["rest"],
            load=_load(reader),
            **_few_images(recipe["hold_out"], network),
        )
    return text


def _reader(reader: str | Mapping[str, Any]) -> list[str]:
    """Returns the lines that say which function reads images."""
    module = LoadImage(reader).reader.func.__module__
    lines = [f"reader = {_literal(reader)}"]
    if module != "__main__" and not module.startswith("mmdino."):
        lines.append(f'custom_imports = dict(imports=["{module}"], allow_failed_imports=False)')
    return lines


def _load(reader: str | Mapping[str, Any] | None) -> str:
    """Returns the step that loads an image."""
    if reader is None:
        return 'dict(type="LoadImageFromFile", color_type=color_type, ignore_empty=True)'
    return 'dict(type="mmdino.LoadImage", reader=reader, channels=channels)'


def _data_set(source: Mapping[str, Any]) -> str:
    """Returns the arguments that say which images the data set has."""
    given = {"type": "mmdino.ImageFolder", **source}
    named = [f"{name}={_literal(value)}" for name, value in given.items()]
    return ", ".join([*named, "data_root=data_root"])


def _few_images(count: int, network: Size) -> dict[str, str]:
    """Returns what the label-free metric is told of its images, so that it does not warn of it."""
    few = count < network.width
    return {
        "few": ", few_images=True" if few else "",
        "bound": f"  # ranks are at most {count}" if few else "",
    }


def _comment(text: str) -> str:
    return textwrap.fill(
        text, LINE, initial_indent="# ", subsequent_indent="# ", break_long_words=False
    )


def _assignment(name: str, value: Any, reason: str) -> str:
    """Returns a line with the reason behind it, or above it where it is long."""
    line = f"{name} = {_literal(value)}"
    whole = f"{line}  # {reason}"
    return whole if len(whole) <= LINE else f"{_comment(reason)}\n{line}"


def _literal(value: Any) -> str:
    """Returns a value as Python, text in double quotes where that needs no escapes."""
    if isinstance(value, Mapping) and all(_is_keyword(name) for name in value):
        return f"dict({', '.join(f'{name}={_literal(each)}' for name, each in value.items())})"
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and '"' not in text else text


def _is_keyword(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)


def _arch(network: Size) -> str:
    return (
        "arch=dict(\n            _delete_=True,\n"
        f"            embed_dims={network.width},\n"
        f"            num_layers={network.depth},\n"
        f"            num_heads={network.heads},\n"
        f"            feedforward_channels={4 * network.width},\n"
        "        )"
    )


def _preprocessor(recipe: Recipe) -> str:
    """Returns the line with mean and deviation, unless they are ImageNet's."""
    if "mean" in recipe.choices:
        return "\n    data_preprocessor=dict(mean=mean, std=std),"
    if recipe["channels"] == 3:
        return ""
    mean, std = GRAY_STATISTICS
    return f"\n    data_preprocessor=dict(mean=[{mean}], std=[{std}]),"


def _view_options(colored: bool, blurred: bool) -> dict[str, str]:
    """Returns what the body says of the views, with the paper's probabilities of a blur."""
    common = (["blur_sigma=blur_sigma"] if blurred else []) + ([] if colored else [NO_COLORS])
    probabilities = {"global_blur": 1.0, "other_blur": 0.1, "local_blur": 0.5}
    return {
        "common": f"_common = dict({', '.join(common)})\n" if common else "",
        "rest": ", **_common" if common else "",
        **{name: f", blur_prob={p}" if blurred else "" for name, p in probabilities.items()},
    }

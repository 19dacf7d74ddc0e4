"""Ranges of numbers that belong to no component of this project."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple


class Range(NamedTuple):
    """Which numbers a key may have."""

    path: str
    """Regular expression of the whole path."""
    allows: Callable[[Real], bool]
    expected: str
    """The same in words."""
    is_whole: bool = False
    """Whether fractions are refused."""
    is_needed: bool = False
    """Whether None is refused."""
    takes_list: bool = False
    """Whether there may be several."""
    for_all: bool = True
    """Whether it holds for the arguments of classes of one's own too."""

    def takes(self, value: Any) -> bool:
        """Whether a value is a number that is allowed."""
        if not isinstance(value, Real) or isinstance(value, bool):
            return False
        return self.allows(value) and not (self.is_whole and value != value // 1)


LOADER = r"(.+\.)?\w*dataloader"
HOOK = r"(default_hooks|custom_hooks)\.\w+"
RANGES = (
    Range(
        r"train_cfg\.(max_epochs|max_iters|val_interval)",
        lambda x: x >= 1,
        "a whole number of at least 1",
        is_whole=True,
        is_needed=True,
    ),
    Range(
        rf"{LOADER}\.(batch_size|prefetch_factor)",
        lambda x: x >= 1,
        "a whole number of at least 1",
        True,
    ),
    Range(rf"{LOADER}\.num_workers", lambda x: x >= 0, "a whole number of at least 0", True),
    Range(
        r"optim_wrapper\.accumulative_counts",
        lambda x: x >= 1,
        "a whole number of at least 1",
        is_whole=True,
        is_needed=True,
    ),
    Range(
        r"optim_wrapper\.optimizer\.lr",
        lambda x: 0 < x < math.inf,
        "a finite number above 0",
        is_needed=True,
    ),
    Range(
        r"optim_wrapper\.optimizer\.weight_decay",
        lambda x: 0 <= x < math.inf,
        "a finite number of at least 0",
        is_needed=True,
    ),
    Range(r"optim_wrapper\.optimizer\.momentum", lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    Range(r"optim_wrapper\.clip_grad\.(max_norm|clip_value)", lambda x: x > 0, "a number above 0"),
    # mmengine takes 0 for never, without a word.
    Range(
        rf"{HOOK}\.interval",
        lambda x: x >= 1 or x == -1,
        "a whole number of at least 1, or -1 for never",
        is_whole=True,
        for_all=False,
    ),
    Range(
        rf"{HOOK}\.max_keep_ckpts",
        lambda x: x >= 1 or x == -1,
        "a whole number of at least 1, or -1 for all",
        is_whole=True,
        for_all=False,
    ),
    Range(
        r"(val|test)_evaluator(\.\d+)?\.topk",
        lambda x: x >= 1,
        "whole numbers of at least 1",
        is_whole=True,
        takes_list=True,
    ),
    Range(
        r"model\.\w*head(\.\d+)?\.num_classes",
        lambda x: x >= 1,
        "a whole number of at least 1",
        True,
    ),
    # torch fails with the size of a tensor.
    Range(
        # Not in_channels: some heads of mmpretrain take one for each of several features.
        r"model\.(head|predictor)\.((hid|out)_channels|num_layers)",
        lambda x: x >= 1,
        "a whole number of at least 1",
        True,
    ),
    Range(
        r"param_scheduler(\.\w+)*\.step_size",
        lambda x: x >= 1,
        "a whole number of at least 1",
        True,
    ),
    Range(r"train_cfg\.val_begin", lambda x: x >= 0, "a whole number of at least 0", True),
    Range(
        r"auto_scale_lr\.base_batch_size", lambda x: x >= 1, "a whole number of at least 1", True
    ),
    Range(r"log_processor\.window_size", lambda x: x >= 1, "a whole number of at least 1", True),
    Range(
        r"randomness\.seed", lambda x: 0 <= x < 2**32, "a whole number from 0 to 2**32 - 1", True
    ),
)


STEP = r".*pipeline(\.\d+)+"
CHOICES = {
    rf"{STEP}\.imdecode_backend": ("cv2", "pillow", "turbojpeg", "tifffile"),
    rf"{STEP}\.color_type": (
        "color",
        "grayscale",
        "unchanged",
        "color_ignore_orientation",
        "grayscale_ignore_orientation",
    ),
}
"""Texts that mmcv takes, by regular expressions of the whole path; it fails at the first image."""


def range_problem(path: str, value: Any, is_known: bool = True) -> str | None:
    """Returns what is wrong with a value at a place of the config, None if nothing is.

    Args:
        path: Path of the key, with dots.
        value: Its value; of a list each member is judged.
        is_known: Whether what reads it is of a project that is known.
    """
    choices = next((words for rule, words in CHOICES.items() if re.fullmatch(rule, path)), ())
    if choices and value is not None and value not in choices:
        return f"expected one of {', '.join(map(repr, choices))}"
    rule = next((rule for rule in RANGES if re.fullmatch(rule.path, path)), None)
    if rule is None or not (rule.for_all or is_known):
        return None
    if value is None and not rule.is_needed:
        return None
    values = value if rule.takes_list and isinstance(value, (list, tuple)) else [value]
    return None if all(map(rule.takes, values)) else f"expected {rule.expected}"

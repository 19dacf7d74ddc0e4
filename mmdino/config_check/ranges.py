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


LOADER = r"(.+\.)?\w*dataloader"
HOOK = r"(default_hooks|custom_hooks)\.\w+"
RANGES = (
    Range(
        r"train_cfg\.(max_epochs|max_iters|val_interval)",
        lambda x: x >= 1,
        "a whole number of at least 1",
        True,
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
        True,
    ),
    Range(r"optim_wrapper\.optimizer\.lr", lambda x: 0 < x < math.inf, "a finite number above 0"),
    Range(
        r"optim_wrapper\.optimizer\.weight_decay",
        lambda x: 0 <= x < math.inf,
        "a finite number of at least 0",
    ),
    Range(r"optim_wrapper\.optimizer\.momentum", lambda x: 0 <= x <= 1, "a number from 0 to 1"),
    Range(r"optim_wrapper\.clip_grad\.(max_norm|clip_value)", lambda x: x > 0, "a number above 0"),
    # mmengine takes 0 for never, without a word.
    Range(
        rf"{HOOK}\.interval",
        lambda x: x >= 1 or x == -1,
        "a whole number of at least 1, or -1 for never",
        True,
    ),
    Range(
        rf"{HOOK}\.max_keep_ckpts",
        lambda x: x >= 1 or x == -1,
        "a whole number of at least 1, or -1 for all",
        True,
    ),
    Range(
        r"auto_scale_lr\.base_batch_size", lambda x: x >= 1, "a whole number of at least 1", True
    ),
    Range(r"log_processor\.window_size", lambda x: x >= 1, "a whole number of at least 1", True),
    Range(
        r"randomness\.seed", lambda x: 0 <= x < 2**32, "a whole number from 0 to 2**32 - 1", True
    ),
)


def range_problem(path: str, value: Any) -> str | None:
    """Returns what is wrong with a value at a place of the config, None if nothing is.

    Args:
        path: Path of the key, with dots.
        value: Its value; None is not judged.
    """
    rule = next((rule for rule in RANGES if re.fullmatch(rule.path, path)), None)
    if rule is None or value is None:
        return None
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or (rule.is_whole and value != value // 1) or not rule.allows(value):
        return f"expected {rule.expected}"
    return None

"""The images that a data set could not read, as ``ImageFolder`` records them in samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mmengine.dist import all_gather_object


def skipped_for(samples: Iterable[Mapping]) -> dict[str, str]:
    """Returns path and reason of each image in whose place another one was read.

    Args:
        samples: Samples; of other data sets they name none.
    """
    skipped = {}
    for sample in samples:
        paths = sample.get("skipped_paths", ())
        reasons = sample.get("skipped_reasons", [""] * len(paths))
        skipped |= zip(paths, reasons, strict=True)
    return skipped


def of_all_ranks(skipped: dict[str, str]) -> dict[str, str]:
    """Returns what all ranks have skipped."""
    parts = all_gather_object(skipped)
    return {path: reason for part in parts for path, reason in part.items()}

"""Command-line options and the result file of the tools that run a published evaluation."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmdino.utils.atomic_write import atomic_write

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    import numpy as np

    from mmdino.evaluation.bank_extraction import Evaluated
    from mmdino.evaluation.listed_features import ListedImage, Protocol


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Adds the checkpoint, which network of it to evaluate, and where to write."""
    parser.add_argument("checkpoint", help="a checkpoint of mmdino, or any file of weights")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--overwrite", action="store_true", help="replace results of other options")
    group = parser.add_argument_group("network")
    group.add_argument("--network", choices=("teacher", "student"), default="teacher")
    group.add_argument(
        "--untrained",
        type=int,
        nargs="?",
        const=0,
        metavar="SEED",
        help="evaluate the same network untrained instead",
    )
    group.add_argument("--num-heads", type=int, help="number of heads, if not in the file")


def color_network_from(args: argparse.Namespace) -> Evaluated:
    """Loads the network that the options name.

    Raises:
        ValueError: If it takes no colour images.
    """
    from mmdino.evaluation.bank_options import network_from
    from mmdino.evaluation.listed_features import require_color

    evaluated = network_from(args)
    require_color(evaluated.backbone)
    return evaluated


def extractor(
    evaluated: Evaluated, protocol: Protocol, args: argparse.Namespace, command: str
) -> Callable[[str, Sequence[Path | ListedImage]], np.ndarray]:
    """Returns a function that maps the name of a set and its N images to features (N, D).

    They are kept in a bank of that name in the folder of the results.

    Args:
        evaluated: The network.
        protocol: How features are computed.
        args: The command line.
        command: The command that continues it, for messages.
    """
    import numpy as np

    from mmdino.evaluation.listed_features import ListedImage, listed_features

    def extract(name: str, images: Sequence[Path | ListedImage]) -> np.ndarray:
        listed = [ListedImage(each) if isinstance(each, Path) else each for each in images]
        folder = args.out / "features" / name.replace("/", "_")
        bank = listed_features(evaluated, listed, protocol, folder, command, args.overwrite)
        return np.array(bank[:])

    return extract


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Writes results as JSON, atomically."""
    with atomic_write(path) as temporary:
        text = json.dumps(results, indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_results(path: Path, fields: Sequence[str]) -> dict[str, Any]:
    """Reads results that :func:`write_results` wrote.

    Args:
        path: The file.
        fields: What it must have, each an object.

    Raises:
        ValueError: If it is no such file.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}). Remove it, or add --overwrite.") from error
    if not isinstance(results, dict) or any(type(results.get(name)) is not dict for name in fields):
        raise ValueError(f"{path} has no {' and '.join(fields)}. Remove it, or add --overwrite.")
    return results

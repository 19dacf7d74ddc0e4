"""Command-line options of the tools that work on feature banks."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import asdict

import torch
from mmengine.registry import init_default_scope

from mmdino.evaluation.bank_extraction import (
    Evaluated,
    ExtractionOptions,
    labelled_images,
    load_evaluated,
    make_bank,
)
from mmdino.evaluation.feature_bank import DTYPES, FeatureBank, check_pair, open_bank
from mmdino.evaluation.knn import unknown_labels


def add_extraction_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how features are computed."""
    group = parser.add_argument_group("features")
    group.add_argument("--network", choices=("teacher", "student"), default="teacher")
    group.add_argument(
        "--untrained", type=int, metavar="SEED", help="the same network, newly initialised"
    )
    group.add_argument("--num-heads", type=int, help="heads of a ViT, if the file does not say")
    group.add_argument("--size", type=int, help="shorter side after resizing (%(default)s)")
    group.add_argument("--crop", type=int, help="side of the centre crop (%(default)s)")
    group.add_argument("--every", type=int, help="use every n-th image")
    group.add_argument("--dtype", choices=DTYPES, help="of the saved features (%(default)s)")
    group.add_argument("--amp", action="store_true", help="compute in mixed precision")
    group.add_argument("--batch-size", type=int, help="images per forward pass (%(default)s)")
    group.add_argument("--workers", type=int, help="processes that read images (%(default)s)")
    group.add_argument("--overwrite", action="store_true", help="replace a bank of something else")
    parser.set_defaults(**asdict(ExtractionOptions()))


def network_from(args: argparse.Namespace) -> Evaluated:
    """Loads the network that the options name."""
    init_default_scope("mmpretrain")
    return load_evaluated(args.checkpoint, args.network, args.num_heads, args.untrained)


def bank_from(
    args: argparse.Namespace,
    evaluated: Evaluated,
    images: str,
    bank: str,
    command: str,
    fraction: float = 1.0,
    fraction_seed: int = 0,
) -> FeatureBank:
    """Makes a bank as the options say, or opens it if it is there."""
    names = asdict(ExtractionOptions())
    options = ExtractionOptions(**{name: getattr(args, name) for name in names})
    dataset = labelled_images(images, options, fraction, fraction_seed)
    return make_bank(evaluated, dataset, bank, options, command)


def add_bank_pair(parser: argparse.ArgumentParser) -> None:
    """Adds two banks, and the options that make them if they are not there."""
    parser.add_argument("train_bank", help="folder of the labelled features")
    parser.add_argument("test_bank", help="folder of the features to test on")
    group = parser.add_argument_group("making the banks; all three or none")
    group.add_argument("--checkpoint", help="file of weights")
    group.add_argument("--train", metavar="FOLDER", help="labelled images, a folder per class")
    group.add_argument("--test", metavar="FOLDER", help="images to test on, likewise")
    add_extraction_options(parser)


def bank_pair_from(args: argparse.Namespace, command: str) -> tuple[FeatureBank, FeatureBank]:
    """Makes or opens the two banks and checks that they belong together.

    Raises:
        ValueError: If only some of the options that make them are given, or the banks differ.
    """
    given = [args.checkpoint, args.train, args.test]
    if any(given) and not all(given):
        raise ValueError(
            "--checkpoint, --train and --test make the two banks together; give all three, or none "
            "to use banks that are there."
        )
    if args.checkpoint:
        evaluated = network_from(args)
        train = bank_from(args, evaluated, args.train, args.train_bank, command)
        test = bank_from(args, evaluated, args.test, args.test_bank, command)
    else:
        train, test = open_bank(args.train_bank), open_bank(args.test_bank)
    check_pair(train, test)
    return train, test


def describe(train: FeatureBank, test: FeatureBank) -> str:
    """Says in two lines what is evaluated, and in a third what cannot be right."""
    plan = train.plan
    unknown = unknown_labels(torch.from_numpy(test.labels), torch.from_numpy(train.labels))
    return (
        f"{plan['checkpoint']}, {plan['network']} (sha256 {plan['network_sha256'][:12]}), "
        f"features of {train.width} numbers in {plan['dtype']}, shorter side {plan['size']}, "
        f"crop {plan['crop']}\n"
        f"{len(train)} images of {len(train.classes)} classes to learn from, {len(test)} to test on"
        + (f"\n{unknown}" if unknown else "")
    )


def command_line(tool: str, arguments: Sequence[str]) -> str:
    """Returns the command that was given."""
    return f"python tools/{tool} {shlex.join(map(str, arguments))}"

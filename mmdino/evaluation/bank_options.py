"""What the tools that work on feature banks share on the command line."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from mmengine.registry import init_default_scope

from mmdino.evaluation.feature_bank import DTYPES, FeatureBank, check_pair, open_bank
from mmdino.evaluation.features import (
    CROP,
    SIZE,
    Evaluated,
    labelled_images,
    load_evaluated,
    make_bank,
)


def add_extraction_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how features are computed."""
    group = parser.add_argument_group("features")
    group.add_argument("--network", choices=("teacher", "student"), default="teacher")
    group.add_argument(
        "--untrained", type=int, metavar="SEED", help="the same network with fresh weights"
    )
    group.add_argument("--num-heads", type=int, help="of a ViT, where the file does not tell")
    group.add_argument("--size", type=int, default=SIZE, help="shorter side after resizing")
    group.add_argument("--crop", type=int, default=CROP, help="side of the centre crop")
    group.add_argument("--every", type=int, default=1, help="take every n-th image")
    group.add_argument("--dtype", choices=DTYPES, default="float32", help="of the saved features")
    group.add_argument("--amp", action="store_true", help="compute in mixed precision")
    group.add_argument("--batch-size", type=int, default=64)
    group.add_argument("--workers", type=int, default=2, help="processes that read images")
    group.add_argument("--overwrite", action="store_true", help="replace what else is there")


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
    share: float = 1.0,
    share_seed: int = 0,
) -> FeatureBank:
    """Makes a bank as the options say, or opens it if it is there."""
    dataset = labelled_images(
        images, args.size, args.crop, every=args.every, fraction=share, fraction_seed=share_seed
    )
    return make_bank(
        evaluated,
        dataset,
        bank,
        size=args.size,
        crop=args.crop,
        dtype=args.dtype,
        amp=args.amp,
        batch_size=args.batch_size,
        workers=args.workers,
        overwrite=args.overwrite,
        command=command,
    )


def add_bank_pair(parser: argparse.ArgumentParser) -> None:
    """Adds two banks, and the options that make them if they are not there."""
    parser.add_argument("train_bank", help="folder of the features to learn from")
    parser.add_argument("test_bank", help="folder of the features to test on")
    group = parser.add_argument_group("making the banks; with all three or none")
    group.add_argument("--checkpoint", help="file of weights")
    group.add_argument("--train", metavar="FOLDER", help="images to learn from, a folder a class")
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
    """Says what is evaluated, in two lines."""
    plan = train.plan
    return (
        f"{plan['checkpoint']}, {plan['network']} (sha256 {plan['network_sha256'][:12]}), "
        f"features of {train.width} numbers in {plan['dtype']}, shorter side {plan['size']}, "
        f"crop {plan['crop']}\n"
        f"{len(train)} images of {len(train.classes)} classes to learn from, {len(test)} to test on"
    )


def command_line(tool: str, arguments: Sequence[str]) -> str:
    """Returns the command that was given."""
    return f"python tools/{tool} {shlex.join(map(str, arguments))}"

"""Command-line options of the tools that work on feature banks."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from mmdino.evaluation.extraction_options import DTYPES, ExtractionOptions
from mmdino.utils.command_line import add_reader_options

# What imports torch and mmengine is imported in the functions: --help does not need it.
if TYPE_CHECKING:
    from mmdino.evaluation.bank_extraction import Evaluated
    from mmdino.evaluation.feature_bank import FeatureBank


def add_extraction_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say how features are computed."""
    group = parser.add_argument_group("features")
    group.add_argument("--network", choices=("teacher", "student"), default="teacher")
    group.add_argument(
        "--untrained", type=int, metavar="SEED", help="the same network, newly initialised"
    )
    group.add_argument("--num-heads", type=int, help="heads of a ViT, if the file does not say")
    add_reader_options(group, "in place of what the run read them by")
    group.add_argument(
        "--size", type=int, help="shorter side after resizing; by default that of the run, else 256"
    )
    group.add_argument(
        "--crop", type=int, help="side of the centre crop; by default that of the run, else 224"
    )
    group.add_argument("--every", type=int, help="use every n-th image")
    group.add_argument("--dtype", choices=DTYPES, help="of the saved features (%(default)s)")
    group.add_argument("--amp", action="store_true", help="compute in mixed precision")
    group.add_argument("--batch-size", type=int, help="images per forward pass (%(default)s)")
    group.add_argument("--workers", type=int, help="processes that read images (%(default)s)")
    group.add_argument("--overwrite", action="store_true", help="replace a bank of something else")
    parser.set_defaults(**asdict(ExtractionOptions()))


def network_from(args: argparse.Namespace) -> Evaluated:
    """Loads the network that the options name."""
    from mmengine.registry import init_default_scope

    from mmdino.evaluation.bank_extraction import load_evaluated

    init_default_scope("mmpretrain")
    # Tools of a protocol of their own have no such options.
    reading = {name: vars(args).get(name) for name in ("reader", "extensions")}
    return load_evaluated(args.checkpoint, args.network, args.num_heads, args.untrained, **reading)


def extraction_options_from(args: argparse.Namespace) -> ExtractionOptions:
    """Returns how features are computed, as the options say."""
    return ExtractionOptions(**{name: getattr(args, name) for name in asdict(ExtractionOptions())})


def add_bank_pair(parser: argparse.ArgumentParser) -> None:
    """Adds two banks, and the options that make them if they are not there."""
    parser.add_argument("train_bank", help="labelled features, a folder or a file")
    parser.add_argument("test_bank", help="features to test on, likewise")
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
    from mmdino.evaluation.bank_files import open_features
    from mmdino.evaluation.bank_images import labelled_images
    from mmdino.evaluation.embedding import embed_images
    from mmdino.evaluation.feature_bank import check_pair

    given = [args.checkpoint, args.train, args.test]
    if any(given) and not all(given):
        raise ValueError(
            "--checkpoint, --train and --test make the two banks together; give all three, or none "
            "to use banks that are there."
        )
    if args.checkpoint:
        evaluated = network_from(args)
        options = extraction_options_from(args)
        train, test = (
            embed_images(
                evaluated,
                labelled_images(images, options, image_input=evaluated.image_input),
                bank,
                options,
                command,
            )
            for images, bank in ((args.train, args.train_bank), (args.test, args.test_bank))
        )
    else:
        train, test = open_features(args.train_bank), open_features(args.test_bank)
    check_pair(train, test)
    return train, test


def describe(train: FeatureBank, test: FeatureBank) -> str:
    """Says in two lines what is evaluated, and in further ones what is left out or wrong."""
    import torch

    from mmdino.evaluation.knn import unknown_labels

    plan = train.plan
    unknown = unknown_labels(torch.from_numpy(test.labels), torch.from_numpy(train.labels))
    return (
        f"{plan['checkpoint']}, {plan['network']} (sha256 {plan['network_sha256'][:12]}), "
        f"features of {train.width} numbers in {plan['dtype']}, shorter side {plan['size']}, "
        f"crop {plan['crop']}\n"
        f"{len(train)} images of {len(train.classes)} classes to learn from, {len(test)} to test on"
        + "".join(
            f"\n{len(bank.unreadable)} image(s) could not be read and are not in {bank.folder}"
            for bank in (train, test)
            if bank.unreadable
        )
        + (f"\n{unknown}" if unknown else "")
    )


def command_line(tool: str, arguments: Sequence[str]) -> str:
    """Returns the command that was given."""
    return f"python tools/{tool} {shlex.join(map(str, arguments))}"

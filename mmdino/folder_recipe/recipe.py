"""Which recipe suits a folder of images on a machine: from facts to choices, each with its reason.

The numbers are those of ``configs/dino_folder.py`` for long runs, and of the runs of
``docs/results.md`` for short ones on processors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from mmdino.folder_recipe.images import FolderFacts
from mmdino.folder_recipe.machine import Machine

if TYPE_CHECKING:
    from mmdino.folder_recipe.rate import Rate

MIN_IMAGES = 16
"""Fewer do not make ``MIN_STEPS_AN_EPOCH`` batches of 4."""
MIN_STEPS_AN_EPOCH = 4
SMALLEST_VIEW, SMALLEST_PATCH = 16, 4
SMALLEST_LOCAL = 16
"""Pixels of a local view; smaller ones take half of the time and taught less (docs/small_data.md).
"""
PATCHES = (16, 8, SMALLEST_PATCH)
MEMORY_SHARE = 0.7
"""Of the free memory, what views may take."""
LEAST_TOKENS = 6
"""Patches on a side of a global view, at least."""
CROP_TO_IMAGE = 0.8
"""A global view crops about 0.7 of the area of an image, 0.8 of its side."""
PAPER_BATCH, PAPER_LR = 256, 0.0005
SHORT_RUN = 5000
"""Steps below which a run is short: a teacher as slow as the paper's would hardly move in it."""
MEMORY_A_VALUE = 68
"""Bytes that a float32 block keeps for the backward pass, for each number of each token; an upper
estimate (34 in 16 bits: Korthikanti et al. 2022, equation 1, without the attention matrix)."""
PLENTY_MEGAPIXELS = 2.0
MINUTES_AT_RISK = 20
"""What a run that is killed loses at most, by the measured rate."""


class Size(NamedTuple):
    """A network, and the largest view that it is given."""

    width: int
    depth: int
    heads: int
    arch: str | None
    """mmpretrain's name of it, if it has one."""
    largest_view: int
    local_views: int
    most_prototypes: int
    """More would take longer than the network itself."""


SIZES = {
    "tiny": Size(128, 4, 4, None, 64, 4, 4096),
    "small": Size(384, 12, 6, "deit-small", 224, 8, 65536),
    "base": Size(768, 12, 12, "deit-base", 224, 8, 65536),
}


class Amount(NamedTuple):
    """What goes with about so many images."""

    batch: int
    prototypes: int
    slowest: float
    """1 - momentum of the teacher in a long run."""
    epochs: int
    """On a GPU."""


LEAST_TO_HOLD_OUT, MOST_HELD_OUT = 300, 1000
"""Images from which on a tenth is held out, and most of them."""
AMOUNTS = {
    3: Amount(32, 1024, 0.0005, 1000),
    4: Amount(64, 4096, 0.0005, 400),
    5: Amount(128, 16384, 0.001, 200),
    6: Amount(256, 65536, 0.001, 100),
}
"""By the power of ten that is nearest to the number of images."""


class Choice(NamedTuple):
    """A value, and why."""

    value: Any
    reason: str


@dataclass(frozen=True)
class Recipe:
    """The choices by their name in the config that is written, in its order."""

    choices: Mapping[str, Choice]
    batches_an_epoch: int
    notes: tuple[str, ...] = ()
    """What the user should know before the run."""

    def __getitem__(self, name: str) -> Any:
        return self.choices[name].value

    @property
    def batches(self) -> int:
        """Batches of the run."""
        return self["max_epochs"] * self.batches_an_epoch


def choose(
    folder: FolderFacts,
    machine: Machine,
    size: str | None = None,
    epochs: int | None = None,
    has_classes: bool = False,
    rate: Rate | None = None,
) -> Recipe:
    """Chooses a recipe.

    Args:
        folder: The images.
        machine: The machine.
        size: A key of ``SIZES``; None for "small" on an accelerator, else "tiny".
        epochs: Length of the run; None for that which suits the images and the device.
        has_classes: Whether there will be k-NN accuracy.
        rate: How fast it trains, for the time between checkpoints; None where that is not known,
            for one at each validation.

    Raises:
        ValueError: If there are too few images, or the size is unknown.
    """
    held_out = _held_out(folder.count, has_classes)
    count = folder.count - held_out.value
    if size is not None and size not in SIZES:
        raise ValueError(f"invalid size {size!r}: expected one of {', '.join(SIZES)}.")
    if count < MIN_IMAGES:
        raise ValueError(
            f"{folder.root!r} has {count} image(s) that can be read, too few to learn from: at "
            f"least {MIN_IMAGES} make an epoch, and it takes about 1,000 to learn useful features."
        )
    accelerated = machine.device != "cpu"
    amount = AMOUNTS[min(max(round(math.log10(count)), 3), 6)]
    choices: dict[str, Choice] = {}
    name = size or ("small" if accelerated else "tiny")
    network = SIZES[name]
    choices["network"] = Choice(name, _why_network(name, size, accelerated))
    choices["hold_out"] = held_out
    choices |= _views(folder, network)
    choices |= _pixels(folder)
    choices |= _batch(count, amount, machine, network, choices)
    accumulated = choices["accumulative_counts"].value
    effective = choices["batch_size"].value * accumulated
    batches = count // choices["batch_size"].value
    choices["max_epochs"] = _epochs(count, amount, batches, epochs, accelerated)
    steps = choices["max_epochs"].value * math.ceil(batches / accumulated)
    choices |= _schedules(steps, choices["max_epochs"].value, amount, effective, name)
    choices |= _running(folder, machine)
    choices |= _intervals(choices["max_epochs"].value, batches, rate)
    return Recipe(choices, batches, _notes(folder, choices, has_classes))


def _held_out(count: int, has_classes: bool) -> Choice:
    """Images that a validation without labels gets, and training does not."""
    if has_classes:
        return Choice(0, "Images that are not trained on: none, as there is k-NN.")
    if count < LEAST_TO_HOLD_OUT:
        return Choice(0, f"Images that are not trained on: none, as {count} are few.")
    return Choice(
        min(MOST_HELD_OUT, count // 10),
        "Images that are not trained on, which show whether features improve.",
    )


def _why_network(name: str, asked: str | None, accelerated: bool) -> str:
    network = SIZES[name]
    what = f"A ViT of width {network.width} and depth {network.depth}"
    if asked is not None:
        return f"{what}, as asked for with --size {name}."
    if accelerated:
        return f"{what}, the smallest of the paper's; --size base learns more from many images."
    return f"{what}, as there is no GPU; --size small is the paper's, and many times slower."


def _views(folder: FolderFacts, network: Size) -> dict[str, Choice]:
    """Sizes of views, patches and evaluated images, in pixels."""
    short, cap = folder.short_side, network.largest_view
    native = CROP_TO_IMAGE * short
    target = max(min(cap, int(native)), SMALLEST_VIEW)
    patch = next((p for p in PATCHES if target // p >= LEAST_TOKENS), SMALLEST_PATCH)
    side = target // patch * patch
    local = max(patch, int(0.45 * side / patch + 0.5) * patch)
    if native >= cap:
        why = f"what this network is made for; images have {short} pixels on the shorter side"
        seen, resized = side, side * 8 // 7
    elif native < SMALLEST_VIEW:
        why = f"the smallest that has patches to learn from: images of {short} pixels are enlarged"
        seen = resized = side
    else:
        why = f"about the pixels that a crop has of images of {short} pixels"
        seen = resized = short // patch * patch
    return {
        "patch_size": Choice(
            patch, f"{side // patch} x {side // patch} patches in a global view: enough to learn."
        ),
        "global_size": Choice(side, f"Pixels of the two global views: {why}."),
        "local_size": Choice(local, "Pixels of the local views, about half of that."),
        "local_views": _local_views(local, network),
        "local_scale": Choice(
            (0.05, 0.4) if local >= 96 else (0.1, 0.4),
            "Area of a local view as a fraction of the image's; smaller ones of small images are "
            "without content.",
        ),
        "blur_sigma": Choice(
            None if side < 64 else (0.1, round(2.0 * side / 224, 2)),
            "No blur: at this size it removes the content."
            if side < 64
            else "Deviations of the blur in pixels: the paper's 2 at 224, in proportion.",
        ),
        "eval_size": Choice(seen, "Pixels of an image that features are made of, after training."),
        "eval_resize": Choice(resized, "Shorter side that it is cut from."),
    }


def _local_views(side: int, network: Size) -> Choice:
    if side < SMALLEST_LOCAL:
        return Choice(0, f"None: views of {side} pixels have too little to learn from.")
    return Choice(
        network.local_views,
        "The paper's number." if network.local_views == 8 else "Half the paper's: faster.",
    )


def _pixels(folder: FolderFacts) -> dict[str, Choice]:
    """Channels and depth."""
    headers = folder.headers
    if folder.reading is not None:
        measured = f"over the {len(headers)} images that were looked at, 0 to 255."
        return {
            "channels": Choice(headers[0].channels, "What the reader gives."),
            "mean": Choice(list(folder.mean), f"Of each channel, measured {measured}"),
            "std": Choice(list(folder.std), f"Deviation of each channel, measured {measured}"),
        }
    gray = all(header.channels <= 2 for header in headers)
    deep = all(header.bits == 16 and header.channels in (1, 3) for header in headers)
    same = len({header.channels for header in headers}) == 1
    if deep and same:
        color = Choice(
            "unchanged",
            "All images that were looked at have 16 bits, which are kept. If others have other "
            'channels, take "color".',
        )
    elif gray:
        color = Choice("grayscale", "All images that were looked at are grey.")
    else:
        color = Choice("color", f"Read as 8-bit colours{_what_is_converted(folder)}.")
    channels = 1 if gray else 3
    why = "Grey: no colours to change." if gray else "Red, green and blue."
    return {"color_type": color, "channels": Choice(channels, why)}


def _what_is_converted(folder: FolderFacts) -> str:
    """Names what reading as 8-bit colours changes, for the end of a sentence."""
    converted = {
        "grey images are repeated in three channels": any(h.channels <= 2 for h in folder.headers),
        "transparency is dropped": any(h.channels in (2, 4) for h in folder.headers),
        "16 bits become 8": any(h.bits > 8 for h in folder.headers),
    }
    words = ", ".join(word for word, happens in converted.items() if happens)
    return f"; {words}" if words else ""


def _batch(
    count: int,
    amount: Amount,
    machine: Machine,
    network: Size,
    choices: Mapping[str, Choice],
) -> dict[str, Choice]:
    """Images at a time, and in a step."""
    wanted, why = amount.batch, f"For about {count:,} images: larger ones leave too few steps."
    if machine.device == "cpu" and wanted > 64:
        wanted, why = 64, "Without a GPU: a larger one leaves fewer steps in the same time."
    few = 2 ** int(math.log2(count / MIN_STEPS_AN_EPOCH))
    if few < wanted:
        wanted, why = few, f"{count} images are few: at least {MIN_STEPS_AN_EPOCH} steps an epoch."
    room = MEMORY_SHARE * machine.memory
    fits = 2 ** int(math.log2(max(1, room / _memory_an_image(network, choices))))
    accumulated = max(1, wanted // fits)
    if accumulated > 1:
        why = f"What {room:.0f} GB hold, {MEMORY_SHARE:.0%} of the free memory, by an estimate."
    return {
        "batch_size": Choice(wanted // accumulated, why),
        "accumulative_counts": Choice(
            accumulated,
            "Batches in a step of the optimiser"
            + (f": {wanted} images, as if they were one batch." if accumulated > 1 else "."),
        ),
    }


def _memory_an_image(network: Size, choices: Mapping[str, Choice]) -> float:
    """Returns GB of memory that the views of an image take at most."""
    patch = choices["patch_size"].value
    sides = [choices["global_size"].value] * 2
    sides += [choices["local_size"].value] * choices["local_views"].value
    tokens = sum((side // patch) ** 2 + 1 for side in sides)
    return tokens * network.width * network.depth * MEMORY_A_VALUE / 1e9


def _epochs(
    count: int, amount: Amount, batches: int, asked: int | None, accelerated: bool
) -> Choice:
    if asked is not None:
        return Choice(asked, "As asked for.")
    if accelerated:
        return Choice(amount.epochs, f"A long run for about {count:,} images; more help little.")
    steps = 1250 * max(1.0, count / 1000) ** 0.25
    return Choice(
        max(1, round(steps / batches)),
        "Without a GPU: as many as show that it learns. --time or --epochs for more.",
    )


def _schedules(
    steps: int, epochs: int, amount: Amount, batch: int, network: str
) -> dict[str, Choice]:
    """What depends on the number of steps."""
    short = steps < SHORT_RUN
    said = f"{steps:,} steps"
    tiny = network == "tiny"
    fast = tiny and short
    not_frozen = "the run is short" if short else "as the run has one" if epochs < 2 else ""
    rate = (0.001 if short else 0.0005) * PAPER_BATCH / batch if tiny else PAPER_LR
    pace = min(0.05, max(amount.slowest, 40 / steps))
    prototypes = max(256, amount.prototypes // 4) if short else amount.prototypes
    prototypes = min(prototypes, SIZES[network].most_prototypes)
    return {
        "num_prototypes": Choice(
            prototypes,
            f"More than kinds of objects; fewer than for a long run, as {said} are few."
            if short
            else "More than kinds of objects.",
        ),
        "lr": Choice(
            round(rate, 5),
            f"For a batch of {PAPER_BATCH}; {rate * batch / PAPER_BATCH:.2g} for one of {batch}. "
            + ("A small network takes a high one." if tiny else "The paper's."),
        ),
        # Not in batches, of which several processes have fewer in an epoch.
        "warmup_epochs": Choice(
            round(min(10, epochs / 12), 3),
            "Epochs in which the rate rises: a twelfth of the run, at most the paper's 10.",
        ),
        "weight_decay_end": Choice(
            0.1 if tiny else 0.4, "Little, as the network is small." if tiny else "The paper's."
        ),
        "momentum": Choice(
            round(1 - pace, 4 if pace < 0.01 else 3),
            f"Of the teacher at the start, 1 at the end: it follows within {1 / pace:.0f} of "
            f"{said}.",
        ),
        "teacher_temp": Choice(
            0.02 if fast else 0.04,
            "Half the paper's: sharper targets teach more in a short run (docs/small_data.md)."
            if fast
            else "The paper's; lower it if the log warns of a collapse.",
        ),
        "koleo_weight": Choice(
            0.1 if fast else 0.0,
            "KoLeo, DINOv2's term that keeps images apart: a small ViT learns faster with it."
            if fast
            else "Without KoLeo, as the paper.",
        ),
        "center_momentum": Choice(
            0.8 if short else 0.9, "The centre must settle in a short run." if short else "Paper's."
        ),
        "head_batch_norm": Choice(
            short,
            "As in the short runs of docs/results.md." if short else "As the paper for a ViT.",
        ),
        "freeze_epochs": Choice(
            0 if not_frozen else 1,
            "Epochs that the prototypes are kept as they are: "
            + (f"none, {not_frozen}." if not_frozen else "the paper's."),
        ),
    }


def _running(folder: FolderFacts, machine: Machine) -> dict[str, Choice]:
    """Precision, processes and what may be unreadable."""
    accelerated = machine.device != "cpu"
    workers = min(16, machine.cores - 1) if accelerated else machine.cores // 4
    limit = 100 + 2 * folder.unreadable_count
    return {
        "precision": Choice(
            machine.low_precision or "float32",
            "Mixed: this device computes with it."
            if machine.low_precision
            else "This device has no instructions for 16 bits.",
        ),
        "num_workers": Choice(
            max(1, workers),
            "Processes that load images: "
            + ("all cores but one." if accelerated else "the network needs the other cores."),
        ),
        "pin_memory": Choice(machine.device == "cuda", "For faster copies to a GPU."),
        "unreadable_limit": Choice(
            limit,
            "Unreadable images that stop the run: "
            + ("more than are expected." if limit > 100 else "none was found."),
        ),
    }


def _intervals(epochs: int, batches: int, rate: Rate | None) -> dict[str, Choice]:
    """Validations, checkpoints and lines of the log."""
    interval = max(1, epochs // 8)
    return {
        "val_interval": Choice(interval, "Epochs between validations."),
        "checkpoint": _checkpoint(interval, rate),
        "log_interval": Choice(min(50, batches), "Batches between lines of the log."),
    }


def _checkpoint(val_interval: int, rate: Rate | None) -> Choice:
    """Epochs between checkpoints, or batches where an epoch takes too long."""
    seconds = 60 * MINUTES_AT_RISK
    epoch = rate.step * rate.batches if rate else 0
    if epoch > seconds:
        return Choice(
            {"by_epoch": False, "interval": max(1, int(seconds / rate.step))},
            f"Batches between checkpoints: {MINUTES_AT_RISK} min, as an epoch takes longer.",
        )
    # At each validation too, for the report of its network.
    divisors = [n for n in range(1, val_interval + 1) if not val_interval % n]
    return Choice(
        {"interval": max(n for n in divisors if n * epoch <= seconds)},
        f"Epochs between checkpoints: at most {MINUTES_AT_RISK} min, and one at each validation.",
    )


def _notes(
    folder: FolderFacts, choices: Mapping[str, Choice], has_classes: bool
) -> tuple[str, ...]:
    notes = []
    if folder.short_side < SMALLEST_VIEW:
        notes.append(
            f"Images of {folder.short_side} pixels have little to learn from: they are enlarged."
        )
    if folder.megapixels > PLENTY_MEGAPIXELS:
        notes.append(
            f"Images have {folder.megapixels:.0f} megapixels, of which a view keeps "
            f"{choices['global_size'].value} x {choices['global_size'].value} pixels: copies with "
            "500 pixels on the shorter side load faster."
        )
    if folder.count < 500:
        notes.append(f"{folder.count} images are few: expect features that know them, not others.")
    if not has_classes:
        watch = (
            "features/neighbor_overlap, of images that are held out, should rise above that of the "
            "start"
            if choices["hold_out"].value
            else "kl should fall in the first epochs and feature_std stay away from 0"
        )
        notes.append(f"No folders that look like classes, so no k-NN: in the log, {watch}.")
    return tuple(notes)

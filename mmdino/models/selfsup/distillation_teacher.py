"""A frozen network as a teacher of features: what it sees and what a student predicts of it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from mmdino.models.layers import at_least_float32, no_autocast
from mmdino.models.losses.feature_loss import WHITENINGS, whiten
from mmdino.models.preprocessors.multi_view_preprocessor import IMAGENET_MEAN, IMAGENET_STD
from mmdino.models.selfsup.base import patch_stride
from mmdino.models.selfsup.frozen_network import FrozenNetwork
from mmdino.models.selfsup.tokens import Tokens, feature_width, tokens_of
from mmdino.utils.config_text import literal_config
from mmdino.utils.numbers import require_number
from mmdino.weights.files import map_checkpoint
from mmdino.weights.layouts import clip
from mmdino.weights.networks import Network

TARGETS = ("tokens", "patches", "class_token", "pooled", "logits")
NEAR = 4 / 3
"""Largest factor by which the teacher's input is resized so that its grid is the student's."""
PRE_NORM = re.compile(r"(?:.*\.)?(?:pre_norm|norm_pre)\..+")
"""A norm before the first block, which CLIP's networks have, in mmpretrain's and timm's names."""
SAME = 1e-3
"""Relative difference of two means or deviations that are the same."""

Statistics = tuple[Sequence[float], Sequence[float]]


class DistillationTeacher(BaseModule):
    """A teacher of :class:`FeatureDistillation`.

    Args:
        name: Its place in the config, such as "model.teacher", for messages.
        backbone: Config of the backbone.
        checkpoint: File of its weights, as in :class:`FrozenNetwork`.
        head: Config of a head of class tokens, for logits alone; the file is then a checkpoint of
            this project with ``teacher.head``.
        mean: Mean of each channel, 0 to 255, that the teacher was trained with; ImageNet's by
            default. The views are normalised anew where the student's are others.
        std: Its standard deviation, likewise.
        image_size: Side of what the teacher sees; by default see :func:`input_size`.
        target: What is predicted: all ``"tokens"``, the ``"patches"``, the ``"class_token"``, the
            ``"pooled"`` patches, or the ``"logits"`` of ``head``.
        whiten: As in :func:`~mmdino.models.losses.feature_loss.whiten`.
        weight: Factor of its loss.
        out_channels: Width of what is predicted, where the backbone or head does not tell.
        network: Which network to take from a file that has a ``"teacher"`` and a ``"student"``.

    Raises:
        TypeError: If what must be a number is none.
        ValueError: If an option is unknown or out of range, the mean and deviation are of 0 to 1,
            or ImageNet's with a network of CLIP; from :meth:`init_weights`, if the file says that
            it was trained with others.
    """

    def __init__(
        self,
        name: str,
        backbone: dict,
        checkpoint: str | Path | None = None,
        head: dict | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        image_size: int | None = None,
        target: Literal["tokens", "patches", "class_token", "pooled", "logits"] = "tokens",
        whiten: Literal["layer_norm", "l2"] | None = "layer_norm",
        weight: float = 1.0,
        out_channels: int | None = None,
        network: Literal["teacher", "student"] = "teacher",
    ) -> None:
        super().__init__()
        for option, value, allowed in (
            ("target", target, TARGETS),
            ("whiten", whiten, WHITENINGS),
            ("network", network, get_args(Network)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} has {option}={value!r}; it must be one of {allowed}.")
        if (target == "logits") != (head is not None):
            raise ValueError(
                f"{name} has target={target!r} and {'no' if head is None else 'a'} head. Logits "
                "are those of a head, and nothing else uses one: give both or none."
            )
        require_number(name, "weight", weight, above=0)
        for option, value in {"image_size": image_size, "out_channels": out_channels}.items():
            if value is not None:
                require_number(name, option, value, least=1, whole=True)
        self.statistics = (tuple(mean or IMAGENET_MEAN), tuple(std or IMAGENET_STD))
        if len(self.statistics[0]) != len(self.statistics[1]):
            raise ValueError(
                f"{name} has mean={mean} and std={std}; it needs one of each per channel."
            )
        for deviation in self.statistics[1]:
            require_number(name, "std", deviation, above=0)
        if all(0 < value < 1 for values in self.statistics for value in values):
            raise ValueError(
                f"{name} has mean={mean} and std={std}, which look like those of values from 0 to "
                "1; here they are of 0 to 255. Multiply them by 255."
            )
        parts = {"backbone": backbone} if head is None else {"backbone": backbone, "head": head}
        self.frozen = FrozenNetwork(
            name, parts, checkpoint, "Only a checkpoint of a run has its head.", network
        )
        self.name = name
        self.target = target
        self.whiten = whiten
        self.weight = weight
        self.image_size = image_size
        networks = self.frozen.network
        require_statistics_of_clip(networks["backbone"], self.statistics, name)
        self.patch = patch_stride(networks["backbone"])
        if image_size is not None and any(image_size % side for side in self.patch):
            raise ValueError(
                f"{name} has image_size={image_size}, which does not divide into its patches of "
                f"{self.patch[0]} x {self.patch[1]} pixels."
            )
        width = (
            feature_width(networks["backbone"])
            if head is None
            else getattr(networks["head"], "out_channels", None)
        )
        self.out_channels = out_channels or width
        if self.out_channels is None:
            raise ValueError(
                f"{name} does not tell the width of its features. Set {name}.out_channels."
            )
        self._said: set[str] = set()

    def init_weights(self) -> None:
        """Loads the weights of the teacher, and compares its mean and std with the file's."""
        self.frozen.init_weights()
        found = statistics_in_file(self.frozen.path)
        if found is not None and not all(map(are_same, found, self.statistics)):
            mean, std = (list(values) for values in found)
            raise ValueError(
                f"{self.name} has mean={list(self.statistics[0])} and "
                f"std={list(self.statistics[1])}, but the network of {self.frozen.path} was "
                f"trained with others. Set {self.name}.mean={mean} and {self.name}.std={std}."
            )

    @torch.no_grad()
    def forward(self, images: Tensor, seen: Statistics, grid: tuple[int, int] | None) -> Tokens:
        """Returns the whitened targets of images.

        Args:
            images: Images (B, C, H, W).
            seen: Mean and deviation that they are normalised with.
            grid: Grid of the student's patches, which the targets get; None if it has none.

        Returns:
            The tokens that the student predicts; those that are no target are None.
        """
        network = self.frozen.for_images(images)
        images = renormalise(images, seen, self.statistics)
        view = tuple(images.shape[-2:])
        size = input_size(view, grid, self.patch, self.image_size)
        if size != view:
            self._say(f"sees views of {view} pixels resized to {size}")
            images = resize(images, size)
        tokens = tokens_of(network["backbone"](images), network["backbone"], size)
        target = self._target(tokens, network)
        if target.patches is not None and grid is not None and target.grid != grid:
            self._say(f"has maps of {target.grid} patches, resized to the student's {grid}")
            maps = target.patches.mT.unflatten(2, target.grid)
            target = Tokens(target.cls, resize(maps, grid).flatten(2).mT, grid)
        cls, patches = (
            None if tensor is None else whiten(tensor, self.whiten) for tensor in target[:2]
        )
        return Tokens(cls, patches, target.grid)

    def _target(self, tokens: Tokens, network: Any) -> Tokens:
        if self.target in ("class_token", "logits") and tokens.cls is None:
            raise ValueError(
                f"{self.name} has target={self.target!r}, but its backbone gives no class token. "
                f"Set {self.name}.target='pooled', or out_type='features' of its backbone."
            )
        if self.target in ("tokens", "patches") and tokens.patches is None:
            raise ValueError(
                f"{self.name} has target={self.target!r}, but its backbone gives vectors alone. "
                f"Set out_type='features' of {self.name}.backbone, or target='class_token'."
            )
        if self.target == "tokens":
            return tokens
        if self.target == "patches":
            return Tokens(None, tokens.patches, tokens.grid)
        if self.target == "pooled":
            return Tokens(tokens.pooled, None, None)
        vector = tokens.cls if self.target == "class_token" else network["head"](tokens.cls)
        return Tokens(vector, None, None)

    def _say(self, what: str) -> None:
        """Says something once in the log."""
        if what not in self._said:
            self._said.add(what)
            print_log(f"{self.name} {what}.", logger="current")


def input_size(
    view: tuple[int, int],
    grid: tuple[int, int] | None,
    patch: tuple[int, int],
    image_size: int | None = None,
) -> tuple[int, int]:
    """Returns the size of what a teacher sees of a view.

    A view whose grid of patches is not the student's is resized so that it is, as 224 pixels for
    patches of 14 to the 16 x 16 patches of another size, unless that changes a side by more than a
    third: the teacher then sees the view, at the nearest multiple of its patch, and its map is
    resized.

    Args:
        view: Height and width of the view.
        grid: Grid of the student's patches; None if it has none.
        patch: Height and width of the teacher's patches, (1, 1) if it has none.
        image_size: Side that the config asks for.
    """
    if image_size is not None:
        return (image_size, image_size)
    if grid is not None and max(patch) > 1:
        size = tuple(number * side for number, side in zip(grid, patch, strict=True))
        ratios = [new / old for new, old in zip(size, view, strict=True)]
        if all(1 / NEAR <= ratio <= NEAR for ratio in ratios):
            return size
    return tuple(max(round(old / side), 1) * side for old, side in zip(view, patch, strict=True))


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes images or maps (B, C, H, W), bicubic and without aliasing, in float32 at least."""
    with no_autocast(maps):
        return functional.interpolate(
            at_least_float32(maps), tuple(size), mode="bicubic", antialias=True
        )


def renormalise(images: Tensor, seen: Statistics, wanted: Statistics) -> Tensor:
    """Gives images (B, C, H, W) another mean and deviation than those they were normalised with."""
    if seen == wanted:
        return images
    (mean, std), (new_mean, new_std) = seen, wanted
    scale = [old / new for old, new in zip(std, new_std, strict=True)]
    shift = [(m - n) / s for m, n, s in zip(mean, new_mean, new_std, strict=True)]
    # Filled on the device: for numbers that are copied there, the host would wait.
    scale, shift = (
        torch.stack([images.new_full((1, 1), value) for value in values])
        for values in (scale, shift)
    )
    return torch.addcmul(shift, images, scale)


def require_statistics_of_clip(backbone: nn.Module, statistics: Statistics, name: str) -> None:
    """Checks that a network of CLIP is not given images with ImageNet's mean and deviation.

    Args:
        backbone: A backbone; a ViT with a norm before its first block is CLIP's.
        statistics: Mean and deviation of each channel that it is to be given.
        name: Its place in the config.

    Raises:
        ValueError: If they are ImageNet's.
    """
    paths = [path for path, _ in backbone.named_parameters()]
    has_class_token = any(path.endswith("cls_token") for path in paths)
    is_clip = has_class_token and any(PRE_NORM.fullmatch(path) for path in paths)
    imagenet = (IMAGENET_MEAN, IMAGENET_STD)
    if is_clip and any(map(are_same, statistics, imagenet)):
        mean, std = ([round(value, 3) for value in values] for values in (clip.MEAN, clip.STD))
        raise ValueError(
            f"{name}.backbone has a norm before its first block, as CLIP's networks have, but "
            f"{name} has ImageNet's mean and std. Set those that it was trained with, of CLIP: "
            f"mean={mean}, std={std}."
        )


def are_same(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether two means, or deviations, of the channels are the same but for rounding."""
    return len(first) == len(second) and all(
        math.isclose(a, b, rel_tol=SAME) for a, b in zip(first, second, strict=True)
    )


def statistics_in_file(path: Path) -> Statistics | None:
    """Returns mean and deviation in the config of a checkpoint, None where it says none."""
    meta = map_checkpoint(path).get("meta")
    text = meta.get("cfg") if isinstance(meta, dict) else None
    if not isinstance(text, str):
        return None
    config = literal_config(text)
    model = config.get("model")
    own = model.get("data_preprocessor") if isinstance(model, dict) else None
    for preprocessor in (own, config.get("data_preprocessor")):
        if isinstance(preprocessor, dict) and {"mean", "std"} <= set(preprocessor):
            values = tuple(preprocessor[name] for name in ("mean", "std"))
            if all(_are_numbers(numbers) for numbers in values):
                return values
    return None


def _are_numbers(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(
        isinstance(value, (int, float)) for value in values
    )

"""The loss that spreads features over the sphere."""

from __future__ import annotations

import logging

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32, gather_with_grad, no_autocast, own_rows
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number

EPS = 1e-8


@MODELS.register_module()
class KoLeoLoss(BaseModule):
    """Kozachenko-Leonenko entropy estimator of the class tokens (Sablayrolles et al. 2019).

    For each global view, minus the mean logarithm of the distance of a feature to its nearest
    neighbour in the batch, both of length 1; the sum over the views, as in the released code of
    DINOv2 (``loss/koleo_loss.py``). Arithmetic has float32 at least, in which the released
    code's small numbers keep value and gradient finite: two equal features give about
    18 - ln(D) / 2 each. The gradient grows as 1 / distance, so that nearly equal features need
    clipped gradients. With no more images than neighbours there is nothing to compare: then the
    loss is 0, and the log says so once.

    Args:
        top_k: Number of nearest neighbours of a feature; the mean over them.
        over_ranks: Whether neighbours are looked for among the images of all ranks, which must have
            equally many, with gradients to both; by default among those of this rank. Two ranks
            then give what one process gives.
        group_size: Number of images, consecutive ones of all ranks', within which neighbours are
            looked for (16 in the high-resolution stage of DINOv3); None for all. Only with
            ``over_ranks``, and it must divide the number of images.

    Raises:
        ValueError: If a number is out of range, or ``group_size`` is given without ``over_ranks``;
            from the run, if it does not divide the number of images.

    Example:
        >>> loss = dict(type="mmdino.KoLeoLoss", over_ranks=True, group_size=16)
    """

    compares_images = True

    def __init__(
        self, top_k: int = 1, over_ranks: bool = False, group_size: int | None = None
    ) -> None:
        super().__init__()
        require_number("KoLeoLoss", "top_k", top_k, least=1, whole=True)
        if group_size is not None:
            advice = "It is a number of images, more than top_k; None looks among all."
            require_number(
                "KoLeoLoss", "group_size", group_size, above=top_k, whole=True, advice=advice
            )
            if not over_ranks:
                raise ValueError(
                    f"KoLeoLoss got group_size={group_size} without over_ranks=True: groups are of "
                    "the images of all ranks."
                )
        self.top_k = top_k
        self.over_ranks = over_ranks
        self.group_size = group_size
        self._has_warned = False

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            features: The student's class tokens of the global views before the head (G, B, D).

        Returns:
            ``loss``, the sum over the views; and ``nearest_distance``, the mean distance of unit
            features to their nearest neighbours, which is near 0 where features have collapsed.

        Raises:
            ValueError: If features have not three dimensions, or ``group_size`` does not divide the
                number of images.
        """
        if features.dim() != 3:
            raise ValueError(
                "KoLeoLoss takes class tokens (global views, batch, width), but got shape "
                f"{tuple(features.shape)}."
            )
        num_images = features.shape[1] * (get_world_size() if self.over_ranks else 1)
        if self.group_size is not None and num_images % self.group_size:
            raise ValueError(
                f"KoLeoLoss has group_size={self.group_size}, which does not divide the "
                f"{num_images} images of all ranks. Set train_dataloader.batch_size so that it "
                "does, and drop_last=True for the last batch of an epoch."
            )
        if num_images <= self.top_k:
            self._warn(num_images)
        distances = [
            nearest_distances(view, self.top_k, self.over_ranks, self.group_size)
            for view in features
        ]
        return {
            "loss": sum(koleo(distance) for distance in distances),
            "nearest_distance": sum(_mean(d.detach()) for d in distances) / len(distances),
        }

    def _warn(self, num_images: int) -> None:
        if not self._has_warned:
            self._has_warned = True
            print_log(
                f"KoLeoLoss is 0 for a batch of {num_images} image(s), which have no {self.top_k} "
                "neighbour(s) to keep away from. Set train_dataloader.batch_size to at least "
                f"{self.top_k + 1}, over_ranks=True if there are several ranks, or drop_last=True "
                "if it is the last batch of an epoch.",
                logger="current",
                level=logging.WARNING,
            )


def nearest_distances(
    features: Tensor, top_k: int = 1, over_ranks: bool = False, group_size: int | None = None
) -> Tensor:
    """Distances of unit features to their nearest neighbours.

    The choice of neighbours has no gradient, the distances have.

    Args:
        features: Features (B, D) of any length.
        top_k: Number k of neighbours, the ones with the largest dot products.
        over_ranks: Whether neighbours are looked for among the images of all ranks.
        group_size: Number of consecutive images within which they are looked for; None for all.

    Returns:
        Distances (B, k) in float32 at least; none (0, k) with fewer than k other features.
    """
    with no_autocast(features):
        own = functional.normalize(at_least_float32(features), dim=-1, eps=EPS)
        everyone, first = own, 0
        if over_ranks:
            everyone, first = gather_with_grad(own), own_rows(len(own)).start
        if min(len(everyone), group_size or len(everyone)) <= top_k:
            # Still with the graph, so that no parameter is without gradient.
            return own.sum(-1, keepdim=True)[:0].expand(-1, top_k)
        with torch.no_grad():
            products = own @ everyone.T
            rows = torch.arange(first, first + len(own), device=own.device)
            columns = torch.arange(len(everyone), device=own.device)
            excluded = rows.unsqueeze(1) == columns
            if group_size is not None:
                excluded |= rows.unsqueeze(1) // group_size != columns // group_size
            neighbours = products.masked_fill_(excluded, -torch.inf).topk(top_k).indices
        # The small number is added to each component, as torch.nn.PairwiseDistance does.
        return (own.unsqueeze(1) - everyone[neighbours] + EPS).norm(dim=-1)


def koleo(distances: Tensor) -> Tensor:
    """Minus the mean logarithm of distances (B, k) to the nearest neighbours; 0 without any."""
    return _mean(-(distances + EPS).log())


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(values.numel(), 1)

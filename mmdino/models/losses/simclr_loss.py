"""The loss of SimCLR."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32, gather_with_grad, no_autocast, own_rows
from mmdino.models.losses.cross_view import check_images, check_views, unordered, view_pairs
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number


@MODELS.register_module()
class SimCLRLoss(BaseModule):
    """Normalised temperature-scaled cross-entropy, NT-Xent (Chen et al. 2020, equation 1).

    Each view of an image is to be told from the other view and both views of all other images of
    all ranks, 2N - 1 terms for N images. With more than two views it is the mean over pairs of
    views, each pair by itself.

    Args:
        temperature: Temperature of the cosines; the paper's for large batches is 0.1.
        pairs: "global" pairs each global view with every other view, so that two global views count
            twice; "all" takes all unordered pairs, local ones too. The paper has two views, for
            which both are its loss.

    Raises:
        ValueError: If the temperature is not positive or the kind of pairs is unknown.

    Example:
        >>> loss = dict(type="mmdino.SimCLRLoss", temperature=0.5)
    """

    compares_images = True
    uses_teacher = False

    def __init__(
        self, temperature: float = 0.1, pairs: Literal["global", "all"] = "global"
    ) -> None:
        super().__init__()
        advice = "The paper has 0.1, and 0.5 for small batches."
        require_number("SimCLRLoss", "temperature", temperature, above=0, advice=advice)
        if pairs not in ("global", "all"):
            raise ValueError(f"SimCLRLoss got pairs={pairs!r}; it must be 'global' or 'all'.")
        self.temperature = temperature
        self.pairs = pairs

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Computes the loss of the images of this rank among those of all ranks.

        Args:
            student: Projections (V, B, D), the global views first.
            teacher: Those of the global views (G, B, D); only their number matters.

        Returns:
            ``loss`` in nats, and ``cosine``, the mean cosine of the pairs.

        Raises:
            ValueError: If there are fewer than two views, one image only, or shapes disagree.
        """
        check_views("SimCLRLoss", student, teacher)
        num_views, batch_size, _ = student.shape
        if self.pairs == "all":
            pairs = unordered(list(combinations(range(num_views), 2)))
        else:
            pairs = unordered(view_pairs(num_views, len(teacher)))
        with no_autocast(student):
            own = functional.normalize(at_least_float32(student), dim=-1)
            everyone = gather_with_grad(own.transpose(0, 1)).transpose(0, 1)
            check_images("SimCLRLoss", everyone.shape[1])
            anchors, first = own / self.temperature, own_rows(batch_size).start

            def log_sum(anchor: int, other: int) -> Tensor:
                logits = anchors[anchor] @ everyone[other].T
                if anchor == other:
                    logits.diagonal(first).fill_(-torch.inf)
                return logits.logsumexp(-1)

            # Of a view with itself, which all its pairs share.
            within = {view: log_sum(view, view) for view in sorted(set().union(*pairs))}
            total = cosines = own.new_zeros(())
            for (a, b), count in pairs.items():
                cosine = torch.linalg.vecdot(own[a], own[b])
                log_sums = torch.logaddexp(within[a], log_sum(a, b))
                log_sums = log_sums + torch.logaddexp(within[b], log_sum(b, a))
                total = total + count * (log_sums / 2 - cosine / self.temperature).mean()
                cosines = cosines + count * cosine.detach().mean()
        return {"loss": total / pairs.total(), "cosine": cosines / pairs.total()}

"""The loss of Barlow Twins."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import (
    at_least_float32,
    gather_with_grad,
    no_autocast,
    own_rows,
    sum_over_ranks,
)
from mmdino.models.losses.cross_view import check_images, check_views, unordered, view_pairs
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number


@MODELS.register_module()
class BarlowTwinsLoss(BaseModule):
    """Distance of the cross-correlation of two views from the identity (Zbontar et al. 2021).

    Equation 1 of the paper, sum_i (1 - c_ii)^2 + lambda sum_(i != j) c_ij^2, where c (D, D) is the
    mean over the images of all ranks of the products of channels. Channels are normalised for each
    view alone, over the images of all ranks, as by batch norm. With more than two views it is the
    mean over the pairs of a global and another view.

    The authors multiplied the loss by 0.024, and later gave biases and norms 0.024 times the rate
    instead. Here it is ``one_dim_lr_mult`` of ``DecayGroupsConstructor``, and the loss has no
    factor.

    Args:
        lambd: Weight lambda of the redundancy; 0.0051 in the paper.

    Raises:
        ValueError: If the weight is negative.

    Example:
        >>> loss = dict(type="mmdino.BarlowTwinsLoss")
    """

    compares_images = True
    uses_teacher = False

    def __init__(self, lambd: float = 0.0051) -> None:
        super().__init__()
        advice = "It is the weight of the redundancy (0.0051 in the paper)."
        require_number("BarlowTwinsLoss", "lambd", lambd, least=0, advice=advice)
        self.lambd = lambd

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Computes the loss of the images of all ranks, which is the same on each.

        Args:
            student: Projections (V, B, D), the global views first.
            teacher: Those of the global views (G, B, D); only their number matters.

        Returns:
            ``loss``; ``invariance``, the sum over the diagonal; and ``redundancy``, that of the
            squares beside it, without its weight.

        Raises:
            ValueError: If there are fewer than two views, one image only, or shapes disagree.
        """
        check_views("BarlowTwinsLoss", student, teacher)
        pairs = unordered(view_pairs(len(student), len(teacher)))
        with no_autocast(student):
            everyone = gather_with_grad(at_least_float32(student).transpose(0, 1))
            num_images = len(everyone)
            check_images("BarlowTwinsLoss", num_images)
            normalised = functional.batch_norm(everyone.flatten(1), None, None, training=True)
            views = normalised.view_as(everyone).unbind(1)
            # With c = X^T Y / N, the sum of all squares of c is that of the products of X X^T and
            # Y Y^T over N^2. These N x N matrices serve all pairs of a view, where c would take
            # 256 MiB a pair for the authors' D = 8192. A rank computes the rows of its images.
            rows = own_rows(student.shape[1])
            similarities = [(view[rows] @ view.T).flatten() for view in views]
            invariance = diagonal_squares = squares = everyone.new_zeros(())
            for (a, b), count in pairs.items():
                diagonal = torch.linalg.vecdot(views[a], views[b], dim=0) / num_images
                invariance = invariance + count * (1 - diagonal).square().sum()
                diagonal_squares = diagonal_squares + count * diagonal.square().sum()
                squares = squares + count * torch.dot(similarities[a], similarities[b])
            squares = sum_over_ranks(squares) / num_images**2
            invariance = invariance / pairs.total()
            redundancy = (squares - diagonal_squares) / pairs.total()
        return {
            "loss": invariance + self.lambd * redundancy,
            "invariance": invariance.detach(),
            "redundancy": redundancy.detach(),
        }

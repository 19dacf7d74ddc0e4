"""The loss of BYOL."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor

from mmdino.models.losses.cross_view import check_views, mean_cosine
from mmdino.registry import MODELS


@MODELS.register_module()
class BYOLLoss(BaseModule):
    """Squared distance of unit vectors, 2 - 2 cos(prediction, target) (Grill et al. 2020).

    Two views give equation 2 of the paper plus the same with the views swapped, 4 - 4 cos. More
    views give twice the mean over the pairs of a global target and another source view.

    Example:
        >>> loss = dict(type="mmdino.BYOLLoss")
    """

    relies_on_predictor = True

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            student: Predictions (V, B, D), the global views first.
            teacher: Projections of the global views (G, B, D); they get no gradient.

        Returns:
            ``loss``, between 0 and 8, and ``cosine``, the mean cosine.

        Raises:
            ValueError: If there are fewer than two views, or shapes disagree.
        """
        check_views("BYOLLoss", student, teacher)
        cosine = mean_cosine(student, teacher.detach())
        return {"loss": 4 - 4 * cosine, "cosine": cosine.detach()}

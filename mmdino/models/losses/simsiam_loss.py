"""The loss of SimSiam."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor

from mmdino.models.losses.cross_view import check_views, mean_cosine
from mmdino.registry import MODELS


@MODELS.register_module()
class SimSiamLoss(BaseModule):
    """Negative cosine of prediction and stopped projection (Chen and He 2021, equations 1 to 4).

    Two views give the paper's loss, the mean of both orders; more give the mean over the pairs of a
    global target and another source view.

    Example:
        >>> loss = dict(type="mmdino.SimSiamLoss")
    """

    relies_on_predictor = True

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            student: Predictions (V, B, D), the global views first.
            teacher: Projections of the global views (G, B, D); they get no gradient.

        Returns:
            ``loss``, between -1 and 1.

        Raises:
            ValueError: If there are fewer than two views, or shapes disagree.
        """
        check_views("SimSiamLoss", student, teacher)
        return {"loss": -mean_cosine(student, teacher.detach())}

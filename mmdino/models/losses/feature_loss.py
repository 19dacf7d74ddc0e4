"""The loss between predicted and real features of a teacher, and what is done to the latter."""

from __future__ import annotations

from typing import Literal

from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32, no_autocast
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number

KINDS = ("smooth_l1", "mse", "cosine")
WHITENINGS = ("layer_norm", "l2", None)
WHITEN_EPS = 1e-5


@MODELS.register_module()
class FeatureLoss(BaseModule):
    """Mean distance of predicted features to a teacher's (Wei et al. 2022, arXiv 2205.14141).

    Args:
        kind: ``"smooth_l1"``: d^2 / (2 beta) for a difference d of a size below beta, else its size
            minus beta / 2, mean over all elements; ``"mse"``: mean of d^2; ``"cosine"``: 1 minus
            the cosine, mean over tokens.
        beta: Where smooth L1 becomes linear; 2 in the authors' code.

    Raises:
        TypeError: If ``beta`` is no number.
        ValueError: If it is not positive, or the kind is unknown.

    Example:
        >>> loss = dict(type="mmdino.FeatureLoss", kind="smooth_l1", beta=2.0)
    """

    def __init__(
        self, kind: Literal["smooth_l1", "mse", "cosine"] = "smooth_l1", beta: float = 2.0
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"FeatureLoss got kind={kind!r}; it must be one of {KINDS}.")
        require_number("FeatureLoss", "beta", beta, above=0)
        self.kind = kind
        self.beta = beta

    def forward(self, prediction: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            prediction: Predicted features (..., D).
            target: Features of the teacher (..., D); they get no gradient.

        Returns:
            ``loss``.

        Raises:
            ValueError: If shapes differ.
        """
        if prediction.shape != target.shape:
            raise ValueError(
                f"FeatureLoss got predictions of shape {tuple(prediction.shape)} and targets of "
                f"shape {tuple(target.shape)}; it compares equal shapes (..., width)."
            )
        with no_autocast(prediction):
            prediction, target = at_least_float32(prediction), at_least_float32(target.detach())
            if self.kind == "smooth_l1":
                loss = functional.smooth_l1_loss(prediction, target, beta=self.beta)
            elif self.kind == "mse":
                loss = functional.mse_loss(prediction, target)
            else:
                loss = 1 - functional.cosine_similarity(prediction, target, dim=-1).mean()
        return {"loss": loss}


def whiten(features: Tensor, kind: Literal["layer_norm", "l2"] | None) -> Tensor:
    """Brings each feature of a teacher to a common scale, in float32 at least.

    Args:
        features: Features (..., D).
        kind: ``"layer_norm"``: mean 0 and variance 1 over D, without weight and bias; ``"l2"``:
            length 1; None leaves them as they are.
    """
    with no_autocast(features):
        features = at_least_float32(features)
        if kind == "layer_norm":
            return functional.layer_norm(features, features.shape[-1:], eps=WHITEN_EPS)
        return functional.normalize(features, dim=-1) if kind == "l2" else features

"""The self-distillation loss with a squared distance in place of the cross-entropy."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32, no_autocast
from mmdino.models.losses.centered_loss import CenteredLoss
from mmdino.models.losses.cross_view import cross_view_loss, entropy, view_pairs
from mmdino.models.losses.targets import centered
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number

SPACES = ("unit", "raw", "probabilities")


@MODELS.register_module()
class DINOMSELoss(CenteredLoss):
    """Squared distance between the teacher's centred logits and the student's.

    The ablation "MSE" of Caron et al. 2021 (tables 7 and 14). The paper has no formula for it. Its
    appendix B calls the MSE of BYOL that of l2-normalised outputs, and says that no sharpening goes
    with it (second-hand: from a translation); hence the default. The mean over the pairs of views
    and the batch, with t the teacher's logits, s the student's and c the centre, is that of

    * ``"unit"``: ``||(t - c) / |t - c| - s / |s|||^2``, which is 2 - 2 cos(t - c, s);
    * ``"raw"``: ``||t - c - s||^2 / K``;
    * ``"probabilities"``: ``||softmax((t - c) / teacher_temp) - softmax(s / student_temp)||^2``.

    Unlike :class:`DINOLoss`, it needs all logits at once: B (V + G) K numbers.

    Args:
        num_prototypes: Number K of prototypes, the ``out_channels`` of the head.
        space: What the squared distance is taken of.
        student_temp: Temperature of the student, for "probabilities" only.
        teacher_temp: Temperature of the teacher, for "probabilities" only. There
            ``TeacherTempWarmupHook`` leads up to it; the other spaces have to do without the hook.
        center_momentum: m in c <- m c + (1 - m) mean of the teacher's logits.

    Attributes:
        current_teacher_temp: Temperature in force, with "probabilities" only.

    Raises:
        ValueError: If the space is unknown, a temperature is not positive, or the momentum is
            outside [0, 1].

    Example:
        >>> loss = dict(type="mmdino.DINOMSELoss", space="unit")
    """

    def __init__(
        self,
        num_prototypes: int = 65536,
        space: Literal["unit", "raw", "probabilities"] = "unit",
        student_temp: float = 0.1,
        teacher_temp: float = 0.04,
        center_momentum: float = 0.9,
    ) -> None:
        super().__init__(num_prototypes, center_momentum)
        if space not in SPACES:
            raise ValueError(f"DINOMSELoss got space={space!r}; it must be one of {SPACES}.")
        for name, value in (("student_temp", student_temp), ("teacher_temp", teacher_temp)):
            require_number("DINOMSELoss", name, value, above=0)
        self.space = space
        self.student_temp = student_temp
        self.teacher_temp = teacher_temp
        if space == "probabilities":
            self.current_teacher_temp = teacher_temp

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            student_logits: (V, B, K), the global views first.
            teacher_logits: (G, B, K), the global views only.

        Returns:
            ``loss``; with "probabilities" also ``teacher_entropy``, its ``entropy_bound`` ln K and
            ``kl``, KL(teacher||student), in nats. The other spaces have no distributions.

        Raises:
            ValueError: If there are fewer than two views, or shapes disagree.
        """
        self.check_shapes(student_logits, teacher_logits)
        teacher_logits = teacher_logits.detach()
        with no_autocast(teacher_logits):
            student, teacher = at_least_float32(student_logits), at_least_float32(teacher_logits)
            metrics = self._compare(student, teacher)
        if self.training:
            self.observe(teacher_logits)
        return metrics

    def _compare(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        if self.space == "raw":
            return {"loss": _squared_distance(student, teacher - self.center) / self.num_prototypes}
        if self.space == "unit":
            directions = functional.normalize(teacher - self.center, dim=-1)
            return {"loss": _squared_distance(functional.normalize(student, dim=-1), directions)}
        log_probs = functional.log_softmax(student / self.student_temp, dim=-1)
        log_targets = centered(teacher, self.center, self.current_teacher_temp)
        targets = log_targets.exp()
        loss = _squared_distance(log_probs.exp(), targets)
        pairs = view_pairs(len(student), len(teacher))
        teacher_entropy = entropy(log_targets)
        return {
            "loss": loss,
            "teacher_entropy": teacher_entropy,
            "entropy_bound": torch.full_like(teacher_entropy, math.log(self.num_prototypes)),
            # Each teacher view is in the same number of pairs.
            "kl": cross_view_loss(log_probs.detach(), targets, pairs) - teacher_entropy,
        }


def _squared_distance(student: Tensor, targets: Tensor) -> Tensor:
    """Squared distance of (V, B, K) and (G, B, K), summed over K: the mean over pairs and batch."""
    total = student.new_zeros(())
    pairs = view_pairs(len(student), len(targets))
    for target, source in pairs:
        total = total + functional.mse_loss(student[source], targets[target], reduction="sum")
    return total / (len(pairs) * student.shape[1])

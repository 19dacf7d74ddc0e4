"""The self-distillation loss."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import LazyLogits, at_least_float32, no_autocast
from mmdino.models.losses.centered_loss import CenteredLoss
from mmdino.models.losses.cross_view import (
    cross_view_loss,
    entropy,
    prototype_metrics,
    view_pairs,
)
from mmdino.models.losses.prototype_cross_entropy import LogTargets, prototype_cross_entropy
from mmdino.models.losses.targets import centered, sinkhorn_knopp
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number


@MODELS.register_module()
class DINOLoss(CenteredLoss):
    """Cross-entropy between the teacher's and the student's distributions over K prototypes.

    Equation 3 of Caron et al. 2021, in nats.

    Args:
        num_prototypes: Number K of prototypes, the ``out_channels`` of the head.
        student_temp: Temperature of the student.
        teacher_temp: Temperature of the teacher. ``TeacherTempWarmupHook`` leads up to it.
        center_momentum: m in c <- m c + (1 - m) mean of the teacher's logits.
        targets: "centered" subtracts the centre from the teacher's logits; "sinkhorn_knopp" assigns
            all global views of all ranks evenly to the prototypes and uses no centre.
        chunk: Number of images whose student logits are in memory at a time, where the head leaves
            its last layer to the loss (:class:`LazyLogits`). None computes all at once: the same
            loss with several times the memory.

    Attributes:
        current_teacher_temp: Temperature in force; follows from the epoch.

    Raises:
        ValueError: If a temperature or the chunk is not positive, the momentum is outside [0, 1] or
            the kind of targets is unknown.

    Example:
        >>> loss = dict(type="mmdino.DINOLoss", num_prototypes=65536, teacher_temp=0.04)
    """

    def __init__(
        self,
        num_prototypes: int = 65536,
        student_temp: float = 0.1,
        teacher_temp: float = 0.04,
        center_momentum: float = 0.9,
        targets: Literal["centered", "sinkhorn_knopp"] = "centered",
        chunk: int | None = 32,
    ) -> None:
        super().__init__(num_prototypes, center_momentum)
        for name, value in (("student_temp", student_temp), ("teacher_temp", teacher_temp)):
            advice = "The paper has 0.1 for the student and 0.04 to 0.07 for the teacher."
            require_number("DINOLoss", name, value, above=0, advice=advice)
        if targets not in ("centered", "sinkhorn_knopp"):
            raise ValueError(
                f"DINOLoss got targets={targets!r}; it must be 'centered' or 'sinkhorn_knopp'."
            )
        if chunk is not None:
            advice = "It is a number of images; None takes all at once."
            require_number("DINOLoss", "chunk", chunk, least=1, whole=True, advice=advice)
        self.targets = targets
        self.chunk = chunk
        self.student_temp = student_temp
        self.teacher_temp = teacher_temp
        self.current_teacher_temp = teacher_temp

    @property
    def accepts_lazy_logits(self) -> bool:
        """Whether the loss computes the student's logits itself, where a head offers that."""
        return self.chunk is not None

    @property
    def needs_center_update(self) -> bool:
        """Whether the targets use the centre."""
        return self.targets == "centered"

    def forward(
        self, student_logits: Tensor | LazyLogits, teacher_logits: Tensor
    ) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch, and metrics that show a collapse.

        Args:
            student_logits: (V, B, K), the global views first.
            teacher_logits: (G, B, K), the global views only.

        Returns:
            ``loss`` in nats and the metrics of :func:`prototype_metrics`.

        Raises:
            ValueError: If there are fewer than two views, or shapes disagree.
        """
        self._check_shapes(student_logits, teacher_logits)
        teacher_logits = teacher_logits.detach()
        pairs = view_pairs(student_logits.shape[0], len(teacher_logits))
        with no_autocast(teacher_logits):
            log_targets = self._log_targets(teacher_logits)
            if isinstance(student_logits, LazyLogits):
                chunk = self.chunk or student_logits.shape[1]
                loss, teacher_entropy, argmax = prototype_cross_entropy(
                    student_logits, log_targets, pairs, self.student_temp, chunk
                )
            else:
                log_targets = log_targets(slice(None))
                log_probs = functional.log_softmax(
                    at_least_float32(student_logits) / self.student_temp, dim=-1
                )
                loss = cross_view_loss(log_probs, log_targets.exp(), pairs)
                teacher_entropy, argmax = entropy(log_targets), log_targets.argmax(-1)
            if self.training and self.needs_center_update:
                self.observe(teacher_logits)
        return prototype_metrics(loss, teacher_entropy, argmax, self.num_prototypes)

    def _log_targets(self, teacher_logits: Tensor) -> LogTargets:
        if self.targets == "sinkhorn_knopp":
            codes = sinkhorn_knopp(at_least_float32(teacher_logits), self.current_teacher_temp)
            return lambda images: codes[:, images]
        return lambda images: centered(
            at_least_float32(teacher_logits[:, images]), self.center, self.current_teacher_temp
        )

    def _check_shapes(self, student_logits: Tensor | LazyLogits, teacher_logits: Tensor) -> None:
        if len(student_logits.shape) != 3 or teacher_logits.dim() != 3:
            raise ValueError(
                "DINOLoss takes student logits (views, batch, prototypes) and teacher logits "
                f"(global views, batch, prototypes), but got shapes {tuple(student_logits.shape)} "
                f"and {tuple(teacher_logits.shape)}."
            )
        num_views, num_globals = student_logits.shape[0], len(teacher_logits)
        if num_views < 2 or not 1 <= num_globals <= num_views:
            raise ValueError(
                f"DINOLoss got {num_views} student and {num_globals} teacher views; it needs at "
                "least two views, the first of which the teacher sees too. Add view groups to "
                "MultiCropTransform."
            )
        for name, logits in (("student", student_logits), ("teacher", teacher_logits)):
            if logits.shape[1:] != (student_logits.shape[1], self.num_prototypes):
                raise ValueError(
                    f"DINOLoss has num_prototypes={self.num_prototypes}, but the {name} logits "
                    f"have shape {tuple(logits.shape)}. Set num_prototypes to the head's "
                    "out_channels."
                )

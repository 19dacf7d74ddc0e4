"""The self-distillation loss."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import LazyLogits, at_least_float32, no_autocast
from mmdino.models.losses.cross_view import (
    Pairs,
    cross_view_loss,
    entropy,
    prototype_metrics,
    view_pairs,
)
from mmdino.models.losses.prototype_cross_entropy import prototype_cross_entropy
from mmdino.models.losses.prototype_loss import PrototypeLoss, Targets
from mmdino.registry import MODELS


@MODELS.register_module()
class DINOLoss(PrototypeLoss):
    """Cross-entropy between the teacher's and the student's distributions over K prototypes.

    Equation 3 of Caron et al. 2021, in nats.

    Args:
        num_prototypes: Number K of prototypes, the ``out_channels`` of the head.
        student_temp: Temperature of the student.
        teacher_temp: Temperature of the teacher. ``TeacherTempWarmupHook`` leads up to it.
        center_momentum: m in c <- m c + (1 - m) mean of the teacher's logits.
        targets: "centered" subtracts the centre from the teacher's logits; "sinkhorn_knopp" assigns
            the global views of all ranks evenly to the prototypes and uses no centre; "softmax"
            only sharpens, and the output collapses to one prototype (section 5.3, "without
            centring").
        sinkhorn_iterations: Iterations of Sinkhorn-Knopp. One is what the paper calls
            "softmax(batch)" (appendix B).
        sinkhorn_per_view: Whether each global view is assigned by itself, as in SwAV. By default
            all global views are assigned together, as in DINOv2.
        chunk: Number of images whose student logits are in memory at a time, where the head leaves
            its last layer to the loss (:class:`LazyLogits`). "auto" takes 32 on a CPU and some 256
            MiB of logits on an accelerator. None computes all at once: the same loss with several
            times the memory.

    Attributes:
        current_teacher_temp: Temperature in force; follows from the epoch.
        local_weight: Factor of the terms of local views, which ``GramAnchorHook`` lowers (DINOv3).
            Metrics are means that are weighted likewise.

    Raises:
        ValueError: If a temperature, the chunk or the number of iterations is not positive, the
            momentum is outside [0, 1] or the kind of targets is unknown.

    Example:
        >>> loss = dict(type="mmdino.DINOLoss", num_prototypes=65536, teacher_temp=0.04)
    """

    def __init__(
        self,
        num_prototypes: int = 65536,
        student_temp: float = 0.1,
        teacher_temp: float = 0.04,
        center_momentum: float = 0.9,
        targets: Targets = "centered",
        sinkhorn_iterations: int = 3,
        sinkhorn_per_view: bool = False,
        chunk: int | Literal["auto"] | None = "auto",
    ) -> None:
        super().__init__(
            num_prototypes,
            student_temp,
            teacher_temp,
            center_momentum,
            targets,
            sinkhorn_iterations,
            chunk,
        )
        self.sinkhorn_per_view = sinkhorn_per_view
        self.local_weight = 1.0

    @property
    def collapse_advice(self) -> dict[str, str]:
        """What to try against each kind of collapse that the targets can come to."""
        uniform = {
            "uniform": "Try, in this order: a lower teacher temperature "
            "(model.loss.teacher_temp=0.02 to 0.03), a longer learning-rate warm-up, a teacher "
            "momentum nearer to 1, fewer prototypes (out_channels)."
        }
        one_point = {
            "centered": "Check that CenterUpdateHook runs; try, in this order: a lower "
            "center_momentum, a higher teacher temperature, a lower learning rate.",
            "softmax": "Nothing keeps these targets apart: set model.loss.targets='centered'.",
        }
        if self.targets not in one_point:
            # Sinkhorn-Knopp spreads the images over all prototypes.
            return uniform
        return {**uniform, "one_point": one_point[self.targets]}

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
        self.check_shapes(student_logits, teacher_logits)
        teacher_logits = teacher_logits.detach()
        pairs = view_pairs(student_logits.shape[0], len(teacher_logits))
        with no_autocast(teacher_logits):
            log_targets = self.log_targets(teacher_logits)
            weights = self._view_weights(student_logits.shape[0], teacher_logits)
            if isinstance(student_logits, LazyLogits):
                num_images = student_logits.shape[1]
                rows = None if weights is None else weights.expand(-1, num_images) / num_images
                loss, teacher_entropy, argmax = prototype_cross_entropy(
                    student_logits,
                    log_targets,
                    pairs,
                    self.student_temp,
                    self.samples_at_once(student_logits),
                    rows,
                )
            else:
                log_targets = log_targets(slice(None))
                log_probs = functional.log_softmax(
                    at_least_float32(student_logits) / self.student_temp, dim=-1
                )
                if weights is not None:
                    log_probs = log_probs * weights.unsqueeze(-1)
                loss = cross_view_loss(log_probs, log_targets.exp(), pairs)
                teacher_entropy, argmax = entropy(log_targets), log_targets.argmax(-1)
            if self.training and self.needs_center_update:
                self.observe(teacher_logits)
        mean = loss
        if weights is not None:
            mean = loss / self._mean_weight(pairs, len(teacher_logits))
        metrics = prototype_metrics(mean, teacher_entropy, argmax, self.num_prototypes)
        return {**metrics, "loss": loss}

    def _view_weights(self, num_views: int, teacher_logits: Tensor) -> Tensor | None:
        """Weights (V, 1) of the student's views; None where all are 1."""
        if self.local_weight == 1:
            return None
        weights = at_least_float32(teacher_logits[:0]).new_ones(num_views, 1)
        weights[len(teacher_logits) :] = self.local_weight
        return weights

    def _mean_weight(self, pairs: Pairs, num_global: int) -> float:
        """Mean of the weights of the pairs, without a tensor, for which the host would wait."""
        weights = [1.0 if source < num_global else self.local_weight for _, source in pairs]
        return sum(weights) / len(weights)

    def assignment_center(self, teacher_logits: Tensor) -> Tensor:
        """Returns the centre of all views (K), or one for each view (G, 1, K)."""
        if not self.sinkhorn_per_view:
            return super().assignment_center(teacher_logits)
        centers = [super(DINOLoss, self).assignment_center(view) for view in teacher_logits]
        return torch.stack(centers).unsqueeze(1)

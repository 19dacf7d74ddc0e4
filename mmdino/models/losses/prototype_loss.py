"""What losses share that compare distributions over prototypes."""

from __future__ import annotations

import logging
from typing import ClassVar, Literal

from mmengine.dist import get_world_size
from mmengine.logging import print_log
from torch import Tensor

from mmdino.models.layers import LazyLogits, at_least_float32, numbers_at_once
from mmdino.models.losses.centered_loss import CenteredLoss, CenterMean
from mmdino.models.losses.prototype_cross_entropy import LogTargets, most_rows
from mmdino.models.losses.targets import centered, sinkhorn_center
from mmdino.utils.numbers import require_number

TARGETS = ("centered", "sinkhorn_knopp", "softmax")
Targets = Literal["centered", "sinkhorn_knopp", "softmax"]


class PrototypeLoss(CenteredLoss):
    """Base of cross-entropies between the teacher's and the student's distributions.

    Args:
        num_prototypes: Number K of prototypes, the ``out_channels`` of the head.
        student_temp: Temperature of the student.
        teacher_temp: Temperature of the teacher. ``TeacherTempWarmupHook`` leads up to it.
        center_momentum: m in c <- m c + (1 - m) mean of the teacher's logits.
        targets: What the teacher's logits become: "centered" subtracts the centre;
            "sinkhorn_knopp" assigns all samples of all ranks evenly to the prototypes and uses no
            centre; "softmax" only sharpens.
        sinkhorn_iterations: Iterations of Sinkhorn-Knopp.
        chunk: Number of samples whose student logits are in memory at a time, where the head leaves
            its last layer to the loss (:class:`LazyLogits`). "auto" takes few on a CPU and some
            256 MiB of logits on an accelerator; None computes all at once.
        center_mean: As in :class:`CenteredLoss`.

    Attributes:
        current_teacher_temp: Temperature in force; follows from the epoch.

    Raises:
        ValueError: If a temperature, the chunk or the number of iterations is not positive, the
            momentum is outside [0, 1] or the kind of targets is unknown.
    """

    chunk_unit: ClassVar[str] = "images"
    """What ``chunk`` counts."""
    cpu_chunk: ClassVar[int] = 32
    """What "auto" is on a CPU."""

    def __init__(
        self,
        num_prototypes: int,
        student_temp: float,
        teacher_temp: float,
        center_momentum: float,
        targets: Targets,
        sinkhorn_iterations: int,
        chunk: int | Literal["auto"] | None,
        center_mean: CenterMean = "samples",
    ) -> None:
        super().__init__(num_prototypes, center_momentum, center_mean)
        owner = type(self).__name__
        for name, value in (("student_temp", student_temp), ("teacher_temp", teacher_temp)):
            advice = "The paper has 0.1 for the student and 0.04 to 0.07 for the teacher."
            require_number(owner, name, value, above=0, advice=advice)
        if targets not in TARGETS:
            raise ValueError(f"{owner} got targets={targets!r}; it must be one of {TARGETS}.")
        require_number(owner, "sinkhorn_iterations", sinkhorn_iterations, least=1, whole=True)
        if chunk not in ("auto", None):
            advice = f"It is a number of {self.chunk_unit}, 'auto', or None for all at once."
            require_number(owner, "chunk", chunk, least=1, whole=True, advice=advice)
        self.targets = targets
        self.sinkhorn_iterations = sinkhorn_iterations
        self.chunk = chunk
        self.student_temp = student_temp
        self.teacher_temp = teacher_temp
        self.current_teacher_temp = teacher_temp
        self._has_warned = False

    @property
    def accepts_lazy_logits(self) -> bool:
        """Whether the loss computes the student's logits itself, where a head offers that."""
        return self.chunk is not None

    @property
    def needs_center_update(self) -> bool:
        """Whether the targets use the centre."""
        return self.targets == "centered"

    @property
    def compares_images(self) -> bool:
        """Whether the loss of an image depends on the others of its batch."""
        return self.targets == "sinkhorn_knopp"

    def samples_at_once(self, logits: LazyLogits) -> int:
        """Returns how many of N samples to compute the logits (V, N, K) of at a time."""
        num_views, num_samples, num_prototypes = logits.shape
        device = logits.inputs.device
        if self.chunk is None:
            return max(1, num_samples)
        if self.chunk != "auto":
            return self.chunk
        if device.type == "cpu":
            return self.cpu_chunk
        rows = min(numbers_at_once(device, 0) // num_prototypes, most_rows(logits.dtype))
        return max(1, rows // num_views)

    def log_targets(self, teacher_logits: Tensor) -> LogTargets:
        """Returns the targets of teacher logits (G, N, K), computed when they are asked for."""
        temperature = self.current_teacher_temp
        if self.targets == "sinkhorn_knopp":
            center = self.assignment_center(teacher_logits)
        else:
            center = self.center if self.targets == "centered" else 0.0
        return lambda samples: centered(
            at_least_float32(teacher_logits[:, samples]), center, temperature
        )

    def assignment_center(self, teacher_logits: Tensor) -> Tensor:
        """Returns the centre (K,) that assigns samples (..., K) of all ranks to the prototypes.

        The targets of a single sample are uniform, whatever the image, which the log says once.
        """
        if get_world_size() == 1 and teacher_logits.numel() == self.num_prototypes:
            self._warn_of_one_sample()
        return sinkhorn_center(teacher_logits, self.current_teacher_temp, self.sinkhorn_iterations)

    def _warn_of_one_sample(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            print_log(
                f"{type(self).__name__} assigns one sample to the prototypes by Sinkhorn-Knopp, "
                "which gives uniform targets, whatever the image. Set a larger "
                "train_dataloader.batch_size (the authors have thousands of images on all ranks), "
                "or targets='centered'.",
                logger="current",
                level=logging.WARNING,
            )

"""The loss of masked patches."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import LazyLogits, at_least_float32, no_autocast
from mmdino.models.losses.prototype_cross_entropy import prototype_cross_entropy
from mmdino.models.losses.prototype_loss import PrototypeLoss, Targets
from mmdino.registry import MODELS
from mmdino.utils.float64 import widest


@MODELS.register_module()
class IBOTLoss(PrototypeLoss):
    """Cross-entropy of masked patches: the student is to predict what the teacher sees there.

    Masked image modelling of iBOT (Zhou et al. 2022, equation 2) as in the released code of DINOv2
    (``loss/ibot_patch_loss.py``). Each crop counts as much as any other, however many of its
    patches are masked, and crops without a mask count as 0: it is the sum over masked patches of
    CE / (masked patches of the crop), over the number of all crops, in nats.

    The centre is this loss's own. As in the released code, it moves towards the mean over the ranks
    of the mean over the masked patches of a rank; a rank that has none is left out. Ranks may have
    different numbers of masked patches, but all must call the loss.

    Args:
        num_prototypes: Number K of prototypes, the ``out_channels`` of the patches' head.
        student_temp: Temperature of the student.
        teacher_temp: Temperature of the teacher. ``TeacherTempWarmupHook`` leads up to it.
        center_momentum: m in c <- m c + (1 - m) mean of the teacher's logits.
        targets: "centered" subtracts the centre from the teacher's logits; "sinkhorn_knopp" assigns
            the masked patches of all ranks evenly to the prototypes and uses no centre; "softmax"
            only sharpens.
        sinkhorn_iterations: Iterations of Sinkhorn-Knopp.
        chunk: Number of patches whose student logits are in memory at a time, where the head leaves
            its last layer to the loss (:class:`LazyLogits`). "auto" takes 64 on a CPU and some 256
            MiB of logits on an accelerator. None computes all at once.

    Attributes:
        current_teacher_temp: Temperature in force; follows from the epoch.

    Raises:
        ValueError: If a temperature, the chunk or the number of iterations is not positive, the
            momentum is outside [0, 1] or the kind of targets is unknown.

    Example:
        >>> loss = dict(type="mmdino.IBOTLoss", num_prototypes=65536, targets="sinkhorn_knopp")
    """

    chunk_unit = "masked patches"
    cpu_chunk = 64

    def __init__(
        self,
        num_prototypes: int = 65536,
        student_temp: float = 0.1,
        teacher_temp: float = 0.04,
        center_momentum: float = 0.9,
        targets: Targets = "centered",
        sinkhorn_iterations: int = 3,
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
            center_mean="ranks",
        )

    def forward(
        self, student_logits: Tensor | LazyLogits, teacher_logits: Tensor, weights: Tensor
    ) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            student_logits: Of the masked patches of all crops (M, K), the student's.
            teacher_logits: Of the same patches (M, K), which the teacher sees.
            weights: Weight (M,) of each patch in the sum (:func:`masked_patch_weights`).

        Returns:
            ``loss`` in nats, 0 where no patch is masked; ``ce_over_lnk``, the mean over the crops
            with a mask over ln K, which is 1 when the output ignores the image; and
            ``teacher_entropy``, the mean entropy of the targets in nats.

        Raises:
            ValueError: If shapes disagree.
        """
        self._check_patches(student_logits, teacher_logits, weights)
        count = len(weights)
        teacher_logits = teacher_logits.detach().unflatten(0, (1, count))
        with no_autocast(teacher_logits):
            weights = weights.to(at_least_float32(teacher_logits).dtype)
            log_targets = self.log_targets(teacher_logits)
            if isinstance(student_logits, LazyLogits):
                # Weights are about 1 within the sum, where float16 would lose small ones.
                scale = weights.amax() if count else 1.0
                logits = student_logits.unflatten(0, (1, count))
                loss, teacher_entropy, _ = prototype_cross_entropy(
                    logits,
                    log_targets,
                    [(0, 0)],
                    self.student_temp,
                    self.samples_at_once(logits),
                    (weights / scale).unsqueeze(0),
                )
                loss = loss * scale
            else:
                log_probs = functional.log_softmax(
                    at_least_float32(student_logits) / self.student_temp, dim=-1
                )
                (log_targets,) = log_targets(slice(None))
                targets = log_targets.exp()
                loss = -(torch.linalg.vecdot(targets, log_probs) @ weights)
                entropies = -torch.linalg.vecdot(targets, log_targets)
                teacher_entropy = entropies.sum() / max(count, 1)
            if self.training and self.needs_center_update:
                self.observe(teacher_logits)
        tiny = torch.finfo(weights.dtype).tiny
        mean = loss.detach() / weights.sum().clamp_min(tiny)
        return {
            "loss": loss,
            "ce_over_lnk": mean / math.log(self.num_prototypes),
            "teacher_entropy": teacher_entropy,
        }

    def _check_patches(
        self, student_logits: Tensor | LazyLogits, teacher_logits: Tensor, weights: Tensor
    ) -> None:
        expected = (weights.numel(), self.num_prototypes)
        for name, logits in (("student", student_logits), ("teacher", teacher_logits)):
            if weights.dim() != 1 or tuple(logits.shape) != expected:
                raise ValueError(
                    f"IBOTLoss has num_prototypes={self.num_prototypes} and got weights of shape "
                    f"{tuple(weights.shape)}, but the {name} logits have shape "
                    f"{tuple(logits.shape)}. It takes logits (masked patches, prototypes) and a "
                    "weight a masked patch; num_prototypes must be the head's out_channels."
                )


def masked_patch_weights(masks: Tensor, indices: Tensor) -> Tensor:
    """Weights of masked patches, with which each crop with a mask counts as 1 / V.

    Args:
        masks: Masks (..., P) of V crops, True where a patch is masked.
        indices: Positions (M,) of the masked patches in the flattened masks.

    Returns:
        1 / (masked patches of its crop * V) for each masked patch (M,), float64
        where the device has it.
    """
    masks = masks.flatten(0, -2)
    num_crops, num_patches = masks.shape
    of_crops = 1 / widest(masks.sum(-1).clamp_min(1) * num_crops)
    return of_crops[indices // num_patches]

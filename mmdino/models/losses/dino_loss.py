"""The self-distillation loss and the centre of the teacher's logits."""

from __future__ import annotations

import math

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32, no_autocast
from mmdino.models.losses.cross_view import cross_view_loss, entropy, teacher_targets
from mmdino.models.losses.fused_prototypes import PrototypeLoss, UnprojectedLogits
from mmdino.registry import MODELS


@MODELS.register_module()
class DINOLoss(BaseModule):
    """Cross-entropy between the teacher's and the student's distributions over K prototypes.

    The centre that a step uses is the one left by the step before. A forward pass in train mode
    adds its teacher logits to a pending sum; :meth:`update_center` moves the centre by the mean of
    what is pending, over all micro-batches of the step and all ranks. ``CenterUpdateHook`` calls it
    after each optimiser step. What is pending can be added up over the ranks while the backward
    pass runs, if the forward pass knows that it is the step's last (``last_of_step``).

    Args:
        num_prototypes: Number K of prototypes, the ``out_channels`` of the head.
        student_temp: Temperature of the student.
        teacher_temp: Temperature of the teacher. ``TeacherTempWarmupHook`` leads up to it.
        center_momentum: Share m of the old centre: c <- m c + (1 - m) mean.
        chunk: Number of images whose student logits are in memory at a time, where the head leaves
            the last layer to the loss (:class:`UnprojectedLogits`). None has the head compute all
            of them: the same loss with several times the memory.

    Attributes:
        center: Buffer (1, K), float32, in the state dict.
        current_teacher_temp: Temperature in force; follows from the epoch.
        last_of_step: Whether the coming forward pass is the last of its optimiser step, on all
            ranks. ``CenterUpdateHook`` sets it. False is always right; the sum over the ranks then
            waits for :meth:`update_center`.

    Raises:
        ValueError: If a temperature or the chunk is not positive or the momentum is outside [0, 1].

    Example:
        >>> loss = dict(type="mmdino.DINOLoss", num_prototypes=65536, teacher_temp=0.04)
    """

    def __init__(
        self,
        num_prototypes: int = 65536,
        student_temp: float = 0.1,
        teacher_temp: float = 0.04,
        center_momentum: float = 0.9,
        chunk: int | None = 32,
    ) -> None:
        super().__init__()
        for name, value in (("student_temp", student_temp), ("teacher_temp", teacher_temp)):
            if not value > 0:
                raise ValueError(
                    f"DINOLoss got {name}={value}; a temperature must be above 0 (the paper has "
                    "0.1 for the student and 0.04 to 0.07 for the teacher)."
                )
        if not 0 <= center_momentum <= 1:
            raise ValueError(
                f"DINOLoss got center_momentum={center_momentum}; it must be within [0, 1]. It is "
                "the share of the old centre that stays (0.9 in the paper)."
            )
        if chunk is not None and chunk < 1:
            raise ValueError(
                f"DINOLoss got chunk={chunk}; it must be a number of images, at least 1, or None."
            )
        self.chunk = chunk
        self.num_prototypes = num_prototypes
        self.student_temp = student_temp
        self.teacher_temp = teacher_temp
        self.current_teacher_temp = teacher_temp
        self.center_momentum = center_momentum
        self.last_of_step = False
        self._summing: list[tuple[Tensor, torch.distributed.Work]] = []
        self.register_buffer("center", torch.zeros(1, num_prototypes))
        self.register_buffer("_pending_sum", torch.zeros(num_prototypes), persistent=False)
        self.register_buffer("_pending_count", torch.zeros(1), persistent=False)

    def forward(
        self, student_logits: Tensor | UnprojectedLogits, teacher_logits: Tensor
    ) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch, and figures that show a collapse.

        Args:
            student_logits: (V, B, K), the global views first; or what they are computed from.
            teacher_logits: (G, B, K), the global views only.

        Returns:
            ``loss`` in nats; ``ce_over_lnk``, the loss over ln K, which is 1 for a network that
            says the same of every image; ``teacher_entropy`` in nats; ``kl``, KL(teacher||student)
            in nats; ``used_prototypes``, the number of different prototypes that come first for
            some teacher view, over the number that could.

        Raises:
            ValueError: If there are fewer than two views, or shapes disagree.
        """
        self._check_shapes(student_logits, teacher_logits)
        teacher_logits = teacher_logits.detach()
        with no_autocast(teacher_logits):
            if isinstance(student_logits, UnprojectedLogits):
                figures = self._fused(student_logits, teacher_logits)
            else:
                figures = self._plain(student_logits, teacher_logits)
            if self.training:
                precise = torch.promote_types(teacher_logits.dtype, torch.float32)
                self._pending_sum += teacher_logits.sum((0, 1), dtype=precise)
                self._pending_count += teacher_logits.shape[:2].numel()
                if self.last_of_step and get_world_size() > 1:
                    self._start_sum()
        return figures

    def _plain(self, student_logits: Tensor, teacher_logits: Tensor) -> dict[str, Tensor]:
        teacher_logits = at_least_float32(teacher_logits)
        log_targets = teacher_targets(teacher_logits, self.center, self.current_teacher_temp)
        log_probs = functional.log_softmax(
            at_least_float32(student_logits) / self.student_temp, dim=-1
        )
        loss = cross_view_loss(log_probs, log_targets.exp())
        return self._figures(loss, entropy(log_targets), log_targets.argmax(-1))

    def _fused(self, student: UnprojectedLogits, teacher_logits: Tensor) -> dict[str, Tensor]:
        loss, teacher_entropy, winners = PrototypeLoss.apply(
            student.features,
            student.weight_v,
            student.weight_g,
            teacher_logits,
            self.center,
            self.current_teacher_temp,
            self.student_temp,
            self.chunk or len(teacher_logits[0]),
            student.dtype,
            torch.is_grad_enabled(),
        )
        return self._figures(loss, teacher_entropy, winners)

    def _figures(self, loss: Tensor, teacher_entropy: Tensor, winners: Tensor) -> dict[str, Tensor]:
        value = loss.detach()
        possible = min(winners.numel(), self.num_prototypes)
        # Not by unique(), whose size the host would have to wait for.
        seen = value.new_zeros(self.num_prototypes).index_fill_(0, winners.flatten(), 1)
        return {
            "loss": loss,
            "ce_over_lnk": value / math.log(self.num_prototypes),
            "teacher_entropy": teacher_entropy,
            # Each teacher view is in the same number of pairs, so the mean over pairs of its
            # entropy is the mean over views, and the difference is exactly the mean divergence.
            "kl": value - teacher_entropy,
            "used_prototypes": seen.sum() / possible,
        }

    def _start_sum(self) -> None:
        """Starts to add up over the ranks what is pending, which then is no longer."""
        pending = torch.cat([self._pending_sum, self._pending_count])
        work = torch.distributed.all_reduce(pending, async_op=True)
        self._summing.append((pending, work))
        self._forget_pending()

    @torch.no_grad()
    def update_center(self) -> None:
        """Moves the centre towards the mean of all teacher logits since the last call."""
        if self._summing:
            total = sum(self._finished_sums())
        else:
            total = torch.cat([self._pending_sum, self._pending_count])
            all_reduce(total)
            self._forget_pending()
        mean = total[:-1] / total[-1]
        self.center.mul_(self.center_momentum).add_(mean, alpha=1 - self.center_momentum)

    def discard_pending(self) -> None:
        """Forgets the teacher logits since the last update, those of a step that was skipped."""
        self._finished_sums()
        self._forget_pending()

    def _finished_sums(self) -> list[Tensor]:
        summing, self._summing = self._summing, []
        for _, work in summing:
            work.wait()
        return [total for total, _ in summing]

    def _forget_pending(self) -> None:
        self._pending_sum.zero_()
        self._pending_count.zero_()

    def _check_shapes(
        self, student_logits: Tensor | UnprojectedLogits, teacher_logits: Tensor
    ) -> None:
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
                "least two views, the first of which the teacher sees too. Ask MultiCropTransform "
                "for more."
            )
        for name, logits in (("student", student_logits), ("teacher", teacher_logits)):
            if logits.shape[1:] != (student_logits.shape[1], self.num_prototypes):
                raise ValueError(
                    f"DINOLoss has num_prototypes={self.num_prototypes}, but the {name} logits "
                    f"have shape {tuple(logits.shape)}. Set num_prototypes to the head's "
                    "out_channels."
                )

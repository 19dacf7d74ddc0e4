"""The running centre of a teacher's logits."""

from __future__ import annotations

from typing import Literal

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.model import BaseModule
from torch import Tensor

from mmdino.models.layers import LazyLogits
from mmdino.models.losses.cross_view import check_view_counts
from mmdino.utils.numbers import require_number

CenterMean = Literal["samples", "ranks"]


class CenteredLoss(BaseModule):
    """Base of losses whose targets are centred by a running mean of the teacher's logits.

    The centre that a step uses is the one after the step before. In train mode the loss passes its
    teacher logits to :meth:`observe`; :meth:`update_center` moves the centre by their mean over all
    micro-batches of the step and all ranks. ``CenterUpdateHook`` calls it after each optimiser
    step. The sum over the ranks runs during the backward pass if the loss knows that a forward pass
    is the step's last (``last_of_step``).

    Args:
        num_prototypes: Number K of prototypes.
        center_momentum: m in c <- m c + (1 - m) mean; 0.9 in the paper.
        center_mean: The mean over all "samples", or the mean over the "ranks" of each one's mean,
            where ranks have different numbers of samples (masked patches in the released code of
            DINOv2). A rank without a sample is left out.

    Attributes:
        center: Buffer (1, K), float32, in the state dict.
        last_of_step: Whether the next forward pass is the last of its optimiser step on all ranks.
            ``CenterUpdateHook`` sets it. False is always right; the sum over the ranks then waits
            for :meth:`update_center`.

    Raises:
        ValueError: If there are fewer than two prototypes, or the momentum is outside [0, 1].
    """

    def __init__(
        self,
        num_prototypes: int,
        center_momentum: float = 0.9,
        center_mean: CenterMean = "samples",
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        require_number(owner, "num_prototypes", num_prototypes, least=2, whole=True)
        require_number(
            owner,
            "center_momentum",
            center_momentum,
            least=0,
            most=1,
            advice="It is the weight of the old centre (0.9 in the paper).",
        )
        self.num_prototypes = num_prototypes
        self.center_momentum = center_momentum
        self.center_mean = center_mean
        self.last_of_step = False
        self._summing: list[tuple[Tensor, torch.distributed.Work]] = []
        self.register_buffer("center", torch.zeros(1, num_prototypes))
        self.register_buffer("_pending_sum", torch.zeros(num_prototypes), persistent=False)
        self.register_buffer("_pending_count", torch.zeros(1), persistent=False)

    @property
    def needs_center_update(self) -> bool:
        """Whether the targets use the centre, so that it has to be moved."""
        return True

    @property
    def needs(self) -> set[str]:
        """What has to be updated between steps."""
        return {"center"} if self.needs_center_update else set()

    @torch.no_grad()
    def observe(self, logits: Tensor) -> None:
        """Adds teacher logits (..., K) to the mean that the centre will move towards."""
        logits = logits.detach().flatten(0, -2)
        precise = torch.promote_types(logits.dtype, torch.float32)
        self._pending_sum += logits.sum(0, dtype=precise)
        self._pending_count += len(logits)
        if self.last_of_step and get_world_size() > 1:
            pending = self._of_this_rank()
            self._summing.append((pending, torch.distributed.all_reduce(pending, async_op=True)))
            self._reset_pending()

    @torch.no_grad()
    def update_center(self) -> None:
        """Moves the centre towards the mean of all logits observed since the last call.

        Without any it stays.
        """
        if self._summing:
            total = sum(self._finished_sums())
        else:
            total = self._of_this_rank()
            all_reduce(total)
            self._reset_pending()
        mean = total[:-1] / total[-1]
        moved = (self.center * self.center_momentum).add_(mean, alpha=1 - self.center_momentum)
        self.center.copy_(torch.where(total[-1] > 0, moved, self.center))

    def discard_pending(self) -> None:
        """Drops the logits observed since the last update, those of a step that was skipped."""
        self._finished_sums()
        self._reset_pending()

    def check_shapes(self, student_logits: Tensor | LazyLogits, teacher_logits: Tensor) -> None:
        """Checks that logits are those of the views of one batch.

        Args:
            student_logits: (V, B, K), the global views first.
            teacher_logits: (G, B, K), the global views only.

        Raises:
            ValueError: If there are fewer than two views, or shapes disagree.
        """
        owner = type(self).__name__
        if len(student_logits.shape) != 3 or teacher_logits.dim() != 3:
            raise ValueError(
                f"{owner} takes student logits (views, batch, prototypes) and teacher logits "
                f"(global views, batch, prototypes), but got shapes {tuple(student_logits.shape)} "
                f"and {tuple(teacher_logits.shape)}."
            )
        check_view_counts(owner, student_logits.shape[0], len(teacher_logits))
        for name, logits in (("student", student_logits), ("teacher", teacher_logits)):
            if logits.shape[1:] != (student_logits.shape[1], self.num_prototypes):
                raise ValueError(
                    f"{owner} has num_prototypes={self.num_prototypes}, but the {name} logits "
                    f"have shape {tuple(logits.shape)}. Set num_prototypes to the head's "
                    "out_channels."
                )

    def _of_this_rank(self) -> Tensor:
        """Sum of the logits (K) and their number, in one tensor, as they are added over ranks."""
        total, count = self._pending_sum, self._pending_count
        if self.center_mean == "ranks":
            total, count = total / count.clamp_min(1), count.clamp_max(1)
        return torch.cat([total, count])

    def _finished_sums(self) -> list[Tensor]:
        summing, self._summing = self._summing, []
        for _, work in summing:
            work.wait()
        return [total for total, _ in summing]

    def _reset_pending(self) -> None:
        self._pending_sum.zero_()
        self._pending_count.zero_()

"""SwAV's loss."""

from __future__ import annotations

from typing import ClassVar

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from mmdino.models.layers import at_least_float32, no_autocast
from mmdino.models.losses.cross_view import (
    cross_view_loss,
    entropy,
    prototype_metrics,
    view_pairs,
)
from mmdino.models.losses.feature_queue import FeatureQueue
from mmdino.models.losses.targets import sinkhorn_knopp
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number


@MODELS.register_module()
class SwAVLoss(BaseModule):
    """Cross-entropy between the code of one view and the prediction of another.

    Scores are products of unit features and unit prototypes. The codes of each global view are its
    scores over epsilon, assigned evenly to the prototypes over all ranks (Sinkhorn-Knopp); every
    other view predicts them by the softmax of its scores over the temperature (Caron et al. 2020,
    equations 1 to 3, and 6 for more than two views). The codes carry no gradient.

    With small batches the last ``queue_length`` images take part in the assignment, from an epoch
    that ``QueueStartHook`` knows, and once there are that many. Training without the hook is
    refused.

    Args:
        num_prototypes: Number K of prototypes; 3000 in the paper.
        in_channels: Width D of the head's output; 128 in the paper.
        temperature: Temperature of the predictions.
        epsilon: Weight of the entropy in the assignment; a lower one makes sharper codes. The
            authors advise 0.03 if a run collapses at once.
        sinkhorn_iterations: Number of iterations of Sinkhorn-Knopp.
        queue_length: Number Q of images in the queue, at least K and a multiple of the images of a
            micro-batch on all ranks; 3840 in the paper for batches of 256. 0 for no queue.
        num_global_views: Number G of global views, which the queue keeps apart.
        init_cfg: mmengine's initialisation config.

    Attributes:
        prototypes: Linear layer without bias. Its rows (K, D) are set to unit length, in place,
            before each forward pass in train mode.
        normalises_itself: Whether the forward pass does so; ``StudentTeacherFSDPStrategy`` sets it
            to False and does it before.
        queue: :class:`FeatureQueue`, or None.

    Raises:
        TypeError, ValueError: If an argument is out of range, or the queue has fewer images than
            there are prototypes.

    Example:
        >>> loss = dict(type="mmdino.SwAVLoss", num_prototypes=3000, queue_length=3840)
    """

    compares_images = True
    """The codes of an image depend on the others of its micro-batch."""
    collapse_advice: ClassVar[dict[str, str]] = {
        # From the authors' README. Codes cannot come to one point: they use all prototypes evenly.
        "uniform": "Try, in this order: a lower epsilon (model.loss.epsilon=0.03), a longer freeze "
        "of the prototypes, local views of a larger scale, and, if it began with the queue, a "
        "later start (QueueStartHook)."
    }

    def __init__(
        self,
        num_prototypes: int = 3000,
        in_channels: int = 128,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        sinkhorn_iterations: int = 3,
        queue_length: int = 0,
        num_global_views: int = 2,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        owner = type(self).__name__
        require_number(owner, "num_prototypes", num_prototypes, least=2, whole=True)
        require_number(owner, "in_channels", in_channels, least=1, whole=True)
        for name, value in (("temperature", temperature), ("epsilon", epsilon)):
            advice = "The paper has 0.1 for the temperature and 0.05 for epsilon."
            require_number(owner, name, value, above=0, advice=advice)
        require_number(owner, "sinkhorn_iterations", sinkhorn_iterations, least=1, whole=True)
        require_number(owner, "num_global_views", num_global_views, least=1, whole=True)
        advice = "It is a number of images; 0 is for no queue."
        require_number(owner, "queue_length", queue_length, least=0, whole=True, advice=advice)
        if 0 < queue_length < num_prototypes:
            raise ValueError(
                f"SwAVLoss got queue_length={queue_length} and num_prototypes={num_prototypes}; "
                "the queue must have at least one image for each prototype. Use a longer queue "
                "(3840 in the paper), fewer prototypes, or queue_length=0 for none."
            )
        self.num_prototypes = num_prototypes
        self.in_channels = in_channels
        self.temperature = temperature
        self.epsilon = epsilon
        self.sinkhorn_iterations = sinkhorn_iterations
        self.normalises_itself = True
        self.prototypes = nn.Linear(in_channels, num_prototypes, bias=False)
        self.queue = (
            FeatureQueue(num_global_views, queue_length, in_channels) if queue_length else None
        )

    @property
    def needs(self) -> set[str]:
        """What has to be updated between steps."""
        return set() if self.queue is None else {"queue"}

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch; in train mode the queue takes its features.

        Args:
            student: The head's outputs (V, B, D), of any length, the global views first.
            teacher: Those of the global views (G, B, D), which the codes are of.

        Returns:
            ``loss`` in nats and the metrics of :func:`prototype_metrics`, where the codes are the
            teacher.

        Raises:
            ValueError: If there are fewer than two views, or shapes disagree.
        """
        self._check_shapes(student, teacher)
        with no_autocast(student):
            if self.training and self.normalises_itself:
                self.normalise_prototypes()
            log_codes = self._log_codes(teacher.detach())
            scores = self.prototypes(unit_features(student))
            log_probs = functional.log_softmax(scores / self.temperature, dim=-1)
            pairs = view_pairs(len(student), len(teacher))
            loss = cross_view_loss(log_probs, log_codes.exp(), pairs)
        return prototype_metrics(
            loss, entropy(log_codes), log_codes.argmax(-1), self.num_prototypes
        )

    @torch.no_grad()
    def normalise_prototypes(self) -> None:
        """Sets the prototypes to unit length, in place.

        Raises:
            ValueError: If they are a view that a sharding wrapper made for the forward pass.
        """
        weight = self.prototypes.weight
        if not weight.is_leaf:
            raise ValueError(
                "SwAVLoss sets its prototypes to unit length before each forward pass, but the run "
                "shards them, so that a change would be lost. Use strategy=dict(type="
                "'mmdino.StudentTeacherFSDPStrategy'), or a run that does not shard."
            )
        weight.copy_(functional.normalize(weight, dim=1))

    @torch.no_grad()
    def _log_codes(self, outputs: Tensor) -> Tensor:
        """Logarithms of the codes (G, B, K) of outputs (G, B, D), which then enter the queue."""
        features = unit_features(outputs)
        scores = self.prototypes(features)
        if self.queue is not None:
            earlier = self.queue.part()
            scores = torch.cat([scores, self.prototypes(earlier)], dim=1)
            if self.training:
                self.queue.push(features)
        codes = [sinkhorn_knopp(view, self.epsilon, self.sinkhorn_iterations) for view in scores]
        return torch.stack(codes)[:, : outputs.shape[1]]

    def _check_shapes(self, student: Tensor, teacher: Tensor) -> None:
        if student.dim() != 3 or teacher.dim() != 3:
            raise ValueError(
                "SwAVLoss takes outputs (views, batch, channels) of all and of the global views, "
                f"but got shapes {tuple(student.shape)} and {tuple(teacher.shape)}."
            )
        num_views, num_globals = len(student), len(teacher)
        if num_views < 2 or not 1 <= num_globals <= num_views:
            raise ValueError(
                f"SwAVLoss got {num_views} view(s), {num_globals} of them global; it needs at "
                "least two views, the first of them global. Add view groups to MultiCropTransform."
            )
        for outputs in (student, teacher):
            if outputs.shape[1:] != (student.shape[1], self.in_channels):
                raise ValueError(
                    f"SwAVLoss has in_channels={self.in_channels}, but the head's outputs have "
                    f"shape {tuple(outputs.shape)}. Set in_channels of the loss to the head's "
                    "out_channels."
                )
        if self.queue is not None and num_globals != len(self.queue.features):
            raise ValueError(
                f"SwAVLoss has a queue for num_global_views={len(self.queue.features)}, but there "
                f"are {num_globals} global views. Set num_global_views of the loss to that of the "
                "model."
            )


def unit_features(outputs: Tensor) -> Tensor:
    """Outputs (..., D) as vectors of unit length, in single precision at least."""
    return functional.normalize(at_least_float32(outputs), dim=-1)

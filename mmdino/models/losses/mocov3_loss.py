"""The loss of MoCo v3."""

from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32, gather, no_autocast, own_rows
from mmdino.models.losses.cross_view import check_images, check_views, view_pairs
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number


@MODELS.register_module()
class MoCoV3Loss(BaseModule):
    """InfoNCE between a query and the keys of one view of all images (Chen et al. 2021).

    2 T times the cross-entropy of softmax(cos(query, keys) / T), for temperature T, where the key
    of the same image is the right one among those of all ranks. Two views give the authors' loss,
    the sum of both orders (algorithm 1 of the paper); more views give twice the mean over the pairs
    of a global key and another query view.

    Args:
        temperature: Temperature T of the cosines; the paper has 0.2 for ViT, the authors' code 1.0
            for ResNet-50.

    Raises:
        ValueError: If the temperature is not positive.

    Example:
        >>> loss = dict(type="mmdino.MoCoV3Loss", temperature=0.2)
    """

    compares_images = True

    def __init__(self, temperature: float = 0.2) -> None:
        super().__init__()
        advice = "The authors have 0.2 for ViT and 1.0 for ResNet-50."
        require_number("MoCoV3Loss", "temperature", temperature, above=0, advice=advice)
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """Computes the loss of the queries of this rank among the keys of all ranks.

        Args:
            student: Predictions (V, B, D), the global views first.
            teacher: Projections of the global views (G, B, D); they get no gradient.

        Returns:
            ``loss``, and ``contrast_accuracy``, the fraction of queries whose nearest key is of the
            same image.

        Raises:
            ValueError: If there are fewer than two views, one image only, or shapes disagree.
        """
        check_views("MoCoV3Loss", student, teacher)
        pairs = view_pairs(len(student), len(teacher))
        with no_autocast(student):
            queries = functional.normalize(at_least_float32(student), dim=-1) / self.temperature
            keys = functional.normalize(at_least_float32(teacher.detach()), dim=-1)
            keys = gather(keys.transpose(0, 1))
            check_images("MoCoV3Loss", len(keys))
            rows = own_rows(student.shape[1])
            labels = torch.arange(rows.start, rows.stop, device=student.device)
            total = correct = queries.new_zeros(())
            for target, source in pairs:
                logits = queries[source] @ keys[:, target].T
                total = total + functional.cross_entropy(logits, labels)
                correct = correct + (logits.argmax(-1) == labels).sum()
        return {
            "loss": 4 * self.temperature * total / len(pairs),
            "contrast_accuracy": correct / (len(pairs) * len(labels)),
        }

"""Linear classifiers with different learning rates, trained together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.nn import functional

from mmdino.models.layers import at_least_float32
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


@MODELS.register_module()
class LinearProbeHead(BaseModule):
    """One linear classifier per learning rate, all trained in one pass over the data.

    The accuracy of a linear evaluation depends on the rate, and the frozen features dominate its
    cost; so they are computed once for all rates. The classifiers (probes) have equal initial
    weights and independent gradients, so each is trained as if alone. ``LinearProbeConstructor``
    sets their learning rates.

    Weights are initialised from N(0, 0.01^2) and biases to 0, as in the authors' code.

    Args:
        in_channels: Width D of the feature.
        num_classes: Number C of classes.
        lrs: Learning rates for a batch of 256 images; the authors' default is 0.001.

    Raises:
        ValueError: If a size or a rate is not positive, or a rate is repeated.

    Example:
        >>> head = dict(
        ...     type="mmdino.LinearProbeHead", in_channels=1536, num_classes=1000,
        ...     lrs=(0.001, 0.01, 0.1))
    """

    def __init__(
        self, in_channels: int, num_classes: int, lrs: float | Sequence[float] = RATES
    ) -> None:
        super().__init__()
        rates = tuple(lrs) if isinstance(lrs, (list, tuple)) else (lrs,)
        for name, size in {"in_channels": in_channels, "num_classes": num_classes}.items():
            require_number("LinearProbeHead", name, size, least=1, whole=True)
        for index, rate in enumerate(rates):
            require_number("LinearProbeHead", f"lrs[{index}]", rate, above=0)
        if not rates or len(set(rates)) < len(rates):
            raise ValueError(
                f"LinearProbeHead got lrs={lrs}; it must be one or more rates that differ."
            )
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.lrs = tuple(float(rate) for rate in rates)
        self.probes = nn.ModuleList(nn.Linear(in_channels, num_classes) for _ in rates)
        self.init_weights()

    def init_weights(self) -> None:
        """Initialises the first probe and copies its weights to the others."""
        nn.init.normal_(self.probes[0].weight, std=0.01)
        nn.init.zeros_(self.probes[0].bias)
        for probe in self.probes[1:]:
            probe.load_state_dict(self.probes[0].state_dict())

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Maps the last of ``feats``, (B, D), to the logits (P, B, C) of the P probes.

        Raises:
            ValueError: If the feature has another width.
        """
        feature = feats[-1]
        if feature.shape[1:] != (self.in_channels,):
            raise ValueError(
                f"LinearProbeHead has in_channels={self.in_channels}, but got features of shape "
                f"{tuple(feature.shape[1:])}. Set model.head.in_channels to their width: blocks x "
                "width of the ViT, plus the width with mean_patch."
            )
        return torch.stack([probe(feature) for probe in self.probes])

    def loss(self, feats: Sequence[Tensor], data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            feats: Outputs of the neck, the last (B, D).
            data_samples: Samples of the B images, with ``gt_label``.

        Returns:
            ``loss``, the sum of the probes' mean cross-entropies, and ``lowest_ce``, their minimum.

        Raises:
            ValueError: If a label is missing or out of range.
        """
        # A probe whose rate is too high may diverge; non-finite logits become 0 (a uniform
        # prediction), so that it does not stop the run of the others.
        logits = at_least_float32(self(feats)).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
        labels = stack_labels(data_samples, self.num_classes).to(logits.device)
        losses = torch.stack([functional.cross_entropy(scores, labels) for scores in logits])
        return {"loss": losses.sum(), "lowest_ce": losses.detach().min()}

    def predict(
        self, feats: Sequence[Tensor], data_samples: list[DataSample] | None = None
    ) -> list[DataSample]:
        """Returns one sample per image with ``probe_scores``, a dict from rate to logits (C,)."""
        logits = at_least_float32(self(feats))
        samples = data_samples or [DataSample() for _ in logits[0]]
        for sample, scores in zip(samples, logits.unbind(1), strict=True):
            sample.set_field(dict(zip(self.lrs, scores, strict=True)), "probe_scores")
        return samples


def stack_labels(data_samples: Sequence[DataSample], num_classes: int) -> Tensor:
    """Returns the labels (B,) of B samples.

    Raises:
        ValueError: If a label is missing, or outside of 0 to ``num_classes - 1``.
    """
    unlabelled = [sample.get("img_path") for sample in data_samples if "gt_label" not in sample]
    if unlabelled:
        raise ValueError(
            f"{len(unlabelled)} of {len(data_samples)} images have no label, such as "
            f"{unlabelled[0]}. Set with_label=True in the data set."
        )
    labels = torch.cat([sample.gt_label for sample in data_samples])
    outside = labels[(labels < 0) | (labels >= num_classes)].unique().tolist()
    if outside:
        raise ValueError(
            f"Labels {outside} are out of range for num_classes={num_classes}. Set "
            "model.head.num_classes to the number of classes of the data set."
        )
    return labels

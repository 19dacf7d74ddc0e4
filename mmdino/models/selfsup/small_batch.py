"""What is known of DINOv2 with small batches."""

from __future__ import annotations

from torch import nn

LEAST_IMAGES = 256
"""Images of an optimiser step below which users of the released code saw no progress.

The authors use 2048 and expect nothing of 32 (issues 143, 272 and 298 of their repository).
"""


def small_batch_advice(num_images: int, criterion: nn.Module) -> str | None:
    """Returns a warning of a small batch, or None.

    Args:
        num_images: Images of an optimiser step, over all ranks and micro-batches.
        criterion: The loss of the class tokens.
    """
    if num_images >= LEAST_IMAGES:
        return None
    advice = (
        f"A batch of {num_images} images is small for DINOv2: below some hundreds, users saw a "
        "loss that stays flat, or a collapse (the authors have 2048). Raise "
        "train_dataloader.batch_size, with model.micro_batch to save memory; if ce_over_lnk stays "
        "near 1, lower optim_wrapper.optimizer.lr and model.head.out_channels."
    )
    if getattr(criterion, "targets", None) == "sinkhorn_knopp":
        advice += (
            f" Sinkhorn-Knopp spreads so few samples over {criterion.num_prototypes} prototypes: "
            "targets='centered', with CenterUpdateHook, needs less of a batch."
        )
    return advice

"""The loss that keeps similarities between patches as an earlier teacher has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional

from mmdino.models.layers import at_least_float32, no_autocast
from mmdino.registry import MODELS

SCOPES = ("image", "batch")
PATCHES = ("all", "masked", "unmasked")
CLAMPS = (None, "both", "teacher")


@MODELS.register_module()
class GramLoss(BaseModule):
    """Mean squared difference between Gram matrices of patch features (Siméoni et al. 2025).

    Gram anchoring of DINOv3 (arXiv 2508.10104): a frozen earlier model, the Gram teacher, says how
    similar the patches of a crop are to each other, and the student keeps to that.

    Args:
        scope: "image" compares the patches of each crop, P x P entries; "batch" the patches of all
            crops with each other, for which a batch needs (crops * P)^2 numbers.
        normalize: Whether features are L2-normalised first, so that entries are cosines.
        clamp: Which negative entries become 0: None, those of "both" Gram matrices, or those of the
            "teacher" alone.
        patches: "all", or only the patches that are "masked" or "unmasked" in the student's crops.
            Crops differ in their numbers of those, hence only with ``scope="batch"``.

    Raises:
        ValueError: If an option is unknown, or ``patches`` does not go with the scope.

    Example:
        >>> loss = dict(type="mmdino.GramLoss", scope="image", clamp="both")
    """

    def __init__(
        self,
        scope: Literal["image", "batch"] = "image",
        normalize: bool = True,
        clamp: Literal["both", "teacher"] | None = None,
        patches: Literal["all", "masked", "unmasked"] = "all",
    ) -> None:
        super().__init__()
        for name, value, allowed in (
            ("scope", scope, SCOPES),
            ("clamp", clamp, CLAMPS),
            ("patches", patches, PATCHES),
        ):
            if value not in allowed:
                raise ValueError(f"GramLoss got {name}={value!r}; it must be one of {allowed}.")
        if patches != "all" and scope != "batch":
            raise ValueError(
                f"GramLoss got patches={patches!r} with scope={scope!r}: crops have different "
                "numbers of such patches. Set scope='batch', or patches='all'."
            )
        self.scope = scope
        self.normalize = normalize
        self.clamp = clamp
        self.patches = patches

    def forward(
        self, student: Tensor, teacher: Tensor, masks: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Computes the loss of a micro-batch.

        Args:
            student: Patch features of the student (V, P, D), of the global crops.
            teacher: Those of the Gram teacher (V, P, D), of the same crops and grid
                (:func:`resize_patches`). No gradient flows to them.
            masks: Masks (V, P) of the student's crops, for ``patches`` other than "all".

        Returns:
            ``loss``; 0 if no patch is compared.

        Raises:
            ValueError: If shapes differ, or masks are missing.
        """
        self._check(student, teacher, masks)
        teacher = teacher.detach()
        if self.patches != "all":
            chosen = masks if self.patches == "masked" else ~masks
            student, teacher = student[chosen].unsqueeze(0), teacher[chosen].unsqueeze(0)
        elif self.scope == "batch":
            student, teacher = (x.flatten(0, 1).unsqueeze(0) for x in (student, teacher))
        with no_autocast(student):
            of_student = gram(student, self.normalize)
            of_teacher = gram(teacher, self.normalize)
            if self.clamp == "both":
                of_student = of_student.clamp_min(0)
            if self.clamp is not None:
                of_teacher = of_teacher.clamp_min(0)
            differences = (of_student - of_teacher).square()
            return {"loss": differences.sum() / max(differences.numel(), 1)}

    def _check(self, student: Tensor, teacher: Tensor, masks: Tensor | None) -> None:
        if student.dim() != 3 or student.shape != teacher.shape:
            raise ValueError(
                f"GramLoss got patch features of shape {tuple(student.shape)} of the student and "
                f"{tuple(teacher.shape)} of the Gram teacher; it compares equal shapes (crops, "
                "patches, width). The Gram teacher is an earlier model of the student's width: use "
                "a checkpoint of the same architecture. If it saw larger crops, resize its map to "
                "the student's grid."
            )
        if self.patches != "all" and (masks is None or masks.shape != student.shape[:2]):
            found = "none" if masks is None else f"masks of shape {tuple(masks.shape)}"
            raise ValueError(
                f"GramLoss has patches={self.patches!r} and needs masks of shape "
                f"{tuple(student.shape[:2])}, but got {found}. Set patches='all', or draw masks "
                "with collate_fn=dict(type='mmdino.BlockMasks', ...)."
            )


def gram(features: Tensor, normalize: bool = True) -> Tensor:
    """Gram matrices (V, P, P) of patch features (V, P, D), in float32 at least."""
    features = at_least_float32(features)
    if normalize:
        features = functional.normalize(features, dim=-1)
    return features @ features.mT


def resize_patches(patches: Tensor, grid: Sequence[int], new_grid: Sequence[int]) -> Tensor:
    """Resizes maps of patch features, bicubic without anti-aliasing, as DINOv3 does.

    Args:
        patches: Patch features (V, h * w, D), row by row.
        grid: Their grid (h, w).
        new_grid: Grid (H, W) of the result.

    Returns:
        Patch features (V, H * W, D), in float32 at least.

    Raises:
        ValueError: If there are not h * w patches.
    """
    if patches.shape[1] != math.prod(grid):
        raise ValueError(
            f"Patch features of shape {tuple(patches.shape)} are not those of a grid of "
            f"{grid[0]} x {grid[1]} patches."
        )
    with no_autocast(patches):
        maps = at_least_float32(patches).mT.unflatten(2, tuple(grid))
        maps = functional.interpolate(
            maps, tuple(new_grid), mode="bicubic", align_corners=False, antialias=False
        )
    return maps.flatten(2).mT

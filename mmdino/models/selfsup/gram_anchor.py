"""The Gram teacher and its term in the loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmdino.models.losses.gram_loss import resize_patches
from mmdino.models.selfsup.base import check_patches, patch_grid
from mmdino.models.selfsup.dinov2 import view_tokens
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number
from mmdino.weights.pretrained import pretrained_cfg

EMA = "ema"


@MODELS.register_module()
class GramAnchor(BaseModule):
    """Gram anchoring: keeps the student's patches as similar to each other as an earlier model's.

    The term of DINOv3 (Siméoni et al. 2025, arXiv 2508.10104) that :class:`DINOv2` adds with
    ``gram=dict(...)``. The Gram teacher sees the global views without masks, or the undistorted
    larger crops of the same regions (``clean_size`` of a view group); their feature map is resized
    to the student's grid.

    Args:
        backbone: Config of the student's backbone, which the model fills in.
        teacher: Which network is the Gram teacher. ``"ema"``: the teacher of moving averages
            itself. A dict: a frozen copy of the student's network, with these changes to its
            config: ``dict(init_cfg=dict(type="Pretrained", checkpoint=FILE))`` for a checkpoint of
            an earlier run or a released file; ``{}`` where ``GramAnchorHook`` copies the teacher of
            moving averages before the term starts. Its weights are part of checkpoints and change
            by such copies only.
        weight: Weight of the term in the loss; ``GramAnchorHook`` leads up to it.
        loss: Arguments of :class:`GramLoss`.
        init_cfg: mmengine's initialisation config.

    Attributes:
        current_gram_weight: Weight in force; follows from the optimiser step. The Gram teacher does
            not run while it is 0.

    Raises:
        TypeError: If the teacher is neither ``"ema"`` nor a dict.
        ValueError: If the weight is not positive.

    Example:
        >>> init_cfg = dict(type="Pretrained", checkpoint="work_dirs/dinov3_vits16/epoch_100.pth")
        >>> gram = dict(weight=2.0, teacher=dict(init_cfg=init_cfg))
        >>> model = dict(type="mmdino.DINOv2", gram=gram)
    """

    def __init__(
        self,
        backbone: dict,
        teacher: Literal["ema"] | dict = EMA,
        weight: float = 2.0,
        loss: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        require_number("GramAnchor", "weight", weight, above=0)
        if teacher != EMA and not isinstance(teacher, dict):
            raise TypeError(
                f"GramAnchor got teacher={teacher!r}; it must be 'ema', or a dict of changes to "
                "the backbone's config, such as dict(init_cfg=dict(type='Pretrained', "
                "checkpoint=FILE))."
            )
        self.weight = weight
        self.current_gram_weight = weight
        self.loss_function = MODELS.build({"type": "mmdino.GramLoss", **(loss or {})})
        self.backbone = None
        self.is_pretrained = False
        if teacher != EMA:
            cfg = {**backbone, **teacher}
            self.is_pretrained = pretrained_cfg(cfg.get("init_cfg")) is not None
            self.backbone = MODELS.build(cfg).requires_grad_(False).eval()

    @property
    def needs(self) -> set[str]:
        """A Gram teacher that starts from random weights has to be replaced."""
        return set() if self.backbone is None or self.is_pretrained else {"gram_teacher"}

    def train(self, mode: bool = True) -> GramAnchor:
        """Sets the mode; the Gram teacher stays in eval mode, without augmented positions."""
        super().train(mode)
        if self.backbone is not None:
            self.backbone.eval()
        return self

    def check_student(self, student: nn.Module) -> None:
        """Checks that a Gram teacher of its own is the student's network.

        Raises:
            ValueError: If tensors differ.
        """
        if self.backbone is None:
            return
        own, students = (
            {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
            for network in (self.backbone, student)
        )
        if own != students:
            name = next(n for n in own | students if own.get(n) != students.get(n))
            raise ValueError(
                f"The Gram teacher is another network than the student: its {name} has the shape "
                f"{own.get(name)}, the student's {students.get(name)}. It is an earlier model of "
                "the same width, depth and patch: leave all but init_cfg out of "
                "model.gram.teacher, and take a checkpoint of the student's architecture."
            )

    @torch.no_grad()
    def refresh(self, teacher: nn.Module) -> None:
        """Copies the weights of a backbone, the teacher's, to the Gram teacher."""
        assert self.backbone is not None, "the teacher of moving averages is no copy"
        for of in (nn.Module.parameters, nn.Module.buffers):
            for target, source in zip(of(self.backbone), of(teacher), strict=True):
                target.copy_(source)

    def forward(
        self,
        student: Tensor,
        ema_teacher: Tensor,
        global_views: Sequence[Tensor],
        clean_views: Sequence[Tensor] | None = None,
        masks: Tensor | None = None,
        micro_batch: int | None = None,
    ) -> Tensor:
        """Computes the term with its weight.

        Args:
            student: Patches of the student (G * B, P, D), of masked global views.
            ema_teacher: Those of the teacher of moving averages.
            global_views: G global views, each (B, C, H, W).
            clean_views: The same crops undistorted and of another size, each (B, C, h, w).
            masks: Masks (G * B, P) of the student's views.
            micro_batch: Number of images that the Gram teacher sees at a time.

        Returns:
            The term (), 0 while the weight is 0.

        Raises:
            ValueError: If the clean views do not fit, or are there for the EMA teacher.
        """
        if clean_views is not None:
            self._check_clean_views(clean_views, global_views)
        if not self.current_gram_weight:
            return student.new_zeros(())
        teacher = ema_teacher
        if self.backbone is not None:
            views = global_views if clean_views is None else clean_views
            teacher = self._patches(views, self._grid(global_views[0]), micro_batch)
        return self.current_gram_weight * self.loss_function(student, teacher, masks)["loss"]

    @torch.no_grad()
    def _patches(
        self, views: Sequence[Tensor], grid: tuple[int, int], micro_batch: int | None
    ) -> Tensor:
        """Patches (G * B, P, D) of the Gram teacher, in the student's grid."""
        _, patches = view_tokens(views, self.backbone, micro_batch=micro_batch)
        own_grid = self._grid(views[0])
        return patches if own_grid == grid else resize_patches(patches, own_grid, grid)

    def _grid(self, view: Tensor) -> tuple[int, int]:
        return patch_grid(self.backbone, view.shape[-2:])

    def _check_clean_views(
        self, clean_views: Sequence[Tensor], global_views: Sequence[Tensor]
    ) -> None:
        if self.backbone is None:
            raise ValueError(
                "The batch has undistorted crops (clean_size of a view group), but the Gram "
                "teacher is the teacher of moving averages, which does not see them. Leave out "
                "clean_size, or give the Gram teacher a network of its own "
                "(model.gram.teacher=dict(...))."
            )
        sizes = [tuple(view.shape[-2:]) for view in clean_views]
        if len(sizes) != len(global_views) or len(set(sizes)) > 1:
            raise ValueError(
                f"The batch has undistorted crops of sizes {sizes} for {len(global_views)} global "
                "views. Set the same clean_size in each group of global views of "
                "MultiCropTransform, and in no other."
            )
        check_patches(self.backbone, *sizes[0], option="clean_size")

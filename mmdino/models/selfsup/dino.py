"""DINO."""

from __future__ import annotations

from typing import Any

from torch import nn

from mmdino.models.losses import CenteredLoss
from mmdino.models.selfsup.student_teacher import StudentTeacher
from mmdino.registry import MODELS


@MODELS.register_module()
class DINO(StudentTeacher):
    """Self-distillation with no labels (Caron et al. 2021, algorithm 1).

    :class:`StudentTeacher` with :class:`DINOLoss`. ``EMATeacherHook`` moves the teacher and
    ``CenterUpdateHook`` the centre of the loss; training without either is refused.

    Another loss takes the place of :class:`DINOLoss` by its ``type``. Hooks for what it has not are
    to be switched off: ``CenterUpdateHook`` without a centre, ``TeacherTempWarmupHook`` without a
    temperature of the teacher.

    Args:
        backbone: As in :class:`StudentTeacher`.
        head: Config of the projection head.
        loss: Arguments of :class:`DINOLoss`, or config of another loss. The number of prototypes of
            a :class:`CenteredLoss` is the head's.
        **kwargs: Other arguments of :class:`StudentTeacher`.

    Raises:
        ValueError: If the head does not fit the loss.

    Example:
        >>> model = dict(
        ...     type="mmdino.DINO",
        ...     backbone=dict(type="mmdino.VisionTransformer", arch="deit-small"),
        ...     head=dict(type="mmdino.DINOHead", in_channels=384))
    """

    loss_name = "dino_loss"

    def __init__(self, backbone: dict, head: dict, loss: dict | None = None, **kwargs: Any) -> None:
        super().__init__(backbone, head, {"type": "mmdino.DINOLoss", **(loss or {})}, **kwargs)

    def _build_loss(self, cfg: dict) -> nn.Module:
        kind = MODELS.get(cfg["type"]) if isinstance(cfg["type"], str) else cfg["type"]
        if not (isinstance(kind, type) and issubclass(kind, CenteredLoss)):
            return super()._build_loss(cfg)
        prototypes = self.head.out_channels
        stated = cfg.setdefault("num_prototypes", prototypes)
        if stated != prototypes:
            raise ValueError(
                f"The loss has num_prototypes={stated}, the head out_channels={prototypes}. Leave "
                "num_prototypes out of the loss: it follows the head."
            )
        return super()._build_loss(cfg)

"""DINO."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mmdino.models.losses import CenteredLoss
from mmdino.models.selfsup.student_teacher import StudentTeacher
from mmdino.registry import MODELS
from mmdino.utils.numbers import require_number


@MODELS.register_module()
class DINO(StudentTeacher):
    """Self-distillation with no labels (Caron et al. 2021, algorithm 1).

    :class:`StudentTeacher` with :class:`DINOLoss`. ``EMATeacherHook`` moves the teacher and
    ``CenterUpdateHook`` the centre of the loss; training without either is refused.

    Another loss takes the place of :class:`DINOLoss` by its ``type``. Hooks for what it has not are
    to be switched off: ``CenterUpdateHook`` without a centre, ``TeacherTempWarmupHook`` without a
    temperature of the teacher.

    With KoLeo the log has both terms as they are optimised, ``dino`` and ``koleo``, and the
    ``nearest_distance`` of :class:`KoLeoLoss`.

    Args:
        backbone: As in :class:`StudentTeacher`.
        head: Config of the projection head.
        loss: Arguments of :class:`DINOLoss`, or config of another loss. The number of prototypes of
            a :class:`CenteredLoss` is the head's.
        koleo: Arguments of :class:`KoLeoLoss`, which keeps the student's features of the global
            views apart, before the head.
        koleo_weight: Weight of KoLeo in the loss; 0, as in the paper, leaves it out. DINOv2 has
            0.1.
        **kwargs: Other arguments of :class:`StudentTeacher`.

    Raises:
        ValueError: If the head does not fit the loss, or ``koleo_weight`` is negative.

    Example:
        >>> model = dict(
        ...     type="mmdino.DINO",
        ...     backbone=dict(type="mmdino.VisionTransformer", arch="deit-small"),
        ...     head=dict(type="mmdino.DINOHead", in_channels=384))
    """

    loss_name = "dino_loss"

    def __init__(
        self,
        backbone: dict,
        head: dict,
        loss: dict | None = None,
        koleo: dict | None = None,
        koleo_weight: float = 0.0,
        **kwargs: Any,
    ) -> None:
        require_number(type(self).__name__, "koleo_weight", koleo_weight, least=0)
        super().__init__(backbone, head, {"type": "mmdino.DINOLoss", **(loss or {})}, **kwargs)
        self.koleo_weight = koleo_weight
        self.koleo_loss = None
        if koleo_weight:
            self.koleo_loss = MODELS.build({"type": "mmdino.KoLeoLoss", **(koleo or {})})

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

    def _koleo_term(self, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """KoLeo of features (G, B, D) with its weight, and what it has to log."""
        found = self.koleo_loss(features)
        return self.koleo_weight * found["loss"], {"nearest_distance": found["nearest_distance"]}

    def _add_terms(self, metrics: dict[str, Tensor], features: Tensor) -> dict[str, Tensor]:
        if self.koleo_loss is None:
            return metrics
        koleo, found = self._koleo_term(features)
        terms = {"dino": metrics["loss"].detach(), "koleo": koleo.detach()}
        return {**metrics, **terms, **found, "loss": metrics["loss"] + koleo}

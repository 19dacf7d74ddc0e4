"""Methods."""

from mmdino.models.selfsup.base import SelfSupervisedModel
from mmdino.models.selfsup.dino import DINO
from mmdino.models.selfsup.dinov2 import DINOv2
from mmdino.models.selfsup.feature_distillation import FeatureDistillation
from mmdino.models.selfsup.gram_anchor import GramAnchor
from mmdino.models.selfsup.student_teacher import StudentTeacher

__all__ = [
    "DINO",
    "DINOv2",
    "FeatureDistillation",
    "GramAnchor",
    "SelfSupervisedModel",
    "StudentTeacher",
]

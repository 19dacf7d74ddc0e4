"""How a model is spread over ranks."""

from mmdino.engine.strategies.student_teacher_fsdp_strategy import StudentTeacherFSDPStrategy

__all__ = ["StudentTeacherFSDPStrategy"]

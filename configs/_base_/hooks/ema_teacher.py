# What a method with a teacher adds that follows the student.
_base_ = ["../default_runtime.py"]

default_hooks = dict(ema_teacher=dict(type="mmdino.EMATeacherHook", momentum=0.996))

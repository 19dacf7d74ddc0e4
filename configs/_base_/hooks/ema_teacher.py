# What a method adds whose teacher follows the student.
_base_ = ["../default_runtime.py"]

default_hooks = dict(ema_teacher=dict(type="mmdino.EMATeacherHook", momentum=0.996))

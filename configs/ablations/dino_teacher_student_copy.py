# The teacher is a copy of the student. Paper: figure 6, does not converge, k-NN 0.1; table 15, row
# 4, linear 0.1 (second-hand).
_base_ = ["../dino_vits16_300ep.py"]

default_hooks = dict(ema_teacher=dict(update="student_copy"))

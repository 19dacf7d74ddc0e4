# The teacher is the student before the last step. Paper: figure 6, does not converge, k-NN 0.1
# (second-hand).
_base_ = ["../dino_vits16_300ep.py"]

default_hooks = dict(ema_teacher=dict(update="previous_iteration"))

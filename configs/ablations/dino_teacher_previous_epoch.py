# The teacher is the student at the end of the previous epoch. Paper: figure 6, k-NN 66.6 against
# 72.8 (second-hand).
_base_ = ["../dino_vits16_300ep.py"]

default_hooks = dict(ema_teacher=dict(update="previous_epoch"))

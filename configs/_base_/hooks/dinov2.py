# What DINOv2 changes in DINO's hooks: the last layer is frozen by its step, and the temperature
# rises with each step.
_base_ = ["dino.py"]

default_hooks = dict(
    last_layer_freeze=dict(what="step"),
    teacher_temp_warmup=dict(by_step=True),
)

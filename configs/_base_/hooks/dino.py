# What DINO adds.
_base_ = ["ema_teacher.py"]

default_hooks = dict(
    center_update=dict(type="mmdino.CenterUpdateHook"),
    last_layer_freeze=dict(type="mmdino.LastLayerFreezeHook", epochs=1),
    teacher_temp_warmup=dict(type="mmdino.TeacherTempWarmupHook", start=0.04, epochs=0),
)

# What SwAV adds: prototypes that stay as they were drawn for an epoch of ImageNet at a batch of
# 4096.
_base_ = ["../default_runtime.py"]

default_hooks = dict(
    last_layer_freeze=dict(
        type="mmdino.LastLayerFreezeHook", steps=313, layer="loss_function.prototypes"
    )
)

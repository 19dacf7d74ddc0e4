# SwAV with ResNet-18 on CIFAR-10; batch, views and length are those of all methods.
# Sizes are those of lightly's benchmark, which has no queue.
_base_ = [
    "../_base_/runs/resnet18_cifar10.py",
    "../_base_/models/swav.py",
    "../_base_/hooks/swav.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.resnet18),
    head=dict(in_channels=_base_.width, hid_channels=512, out_channels=128),
    loss=dict(in_channels=128, num_prototypes=512, queue_length=1024),
)
default_hooks = dict(
    last_layer_freeze=dict(steps=None, epochs=1),
    queue_start=dict(type="mmdino.QueueStartHook", epochs=1),
)

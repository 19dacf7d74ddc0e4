# DINOv2 on the demo's drawn images: a few minutes on two CPU cores. What differs from dino_demo.py
# is what DINOv2 adds; network, views, length and rate are those of all demos.
_base_ = [
    "../_base_/runs/demo.py",
    "../_base_/models/dinov2_vit.py",
    "../_base_/hooks/dinov2.py",
]

momentum = 0.95
num_prototypes = 256
head = dict(
    in_channels=_base_.width,
    out_channels=num_prototypes,
    hidden_channels=256,
    bottleneck_channels=128,
    use_bn=True,
)

model = dict(
    backbone=dict(_delete_=True, **_base_.vit, out_type="features", mask_token=True),
    head=head,
    loss=dict(teacher_temp=0.03, center_momentum=0.8),
    ibot=dict(teacher_temp=0.03, center_momentum=0.8),
)
train_dataloader = dict(
    collate_fn=dict(_delete_=True, type="mmdino.BlockMasks", view_size=48, patch_size=8)
)
default_hooks = dict(
    ema_teacher=dict(momentum=momentum),
    last_layer_freeze=dict(epochs=0),
)

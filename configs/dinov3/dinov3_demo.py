# DINOv3 on the demo's drawn images: a few minutes on two CPU cores. Rotary positions,
# Sinkhorn-Knopp targets, a head each for classes and patches, and Gram anchoring from the middle of
# the run, with a Gram teacher that is copied there and two epochs later. Network, views, length and
# rate are those of all demos.
_base_ = [
    "../_base_/runs/demo.py",
    "../_base_/models/dinov3_vit.py",
    "../_base_/hooks/dinov2.py",
]

momentum = 0.95
steps_per_epoch = 62
clean_size = 96
head = dict(
    in_channels=_base_.width,
    out_channels=256,
    hidden_channels=256,
    bottleneck_channels=128,
    use_bn=True,
)
views = [
    dict(
        num=1,
        size=_base_.global_size,
        clean_size=clean_size,
        scale=(0.5, 1.0),
        blur_prob=blur_prob,
        **_base_.jitter,
    )
    for blur_prob in (0.3, 0.1)
]
views.append(dict(num=2, size=_base_.local_size, scale=(0.25, 0.6), blur_prob=0.1, **_base_.jitter))

model = dict(
    backbone=dict(
        _delete_=True,
        **_base_.vit,
        out_type="features",
        mask_token=True,
        key_bias=False,
        learned_positions=False,
        position_encoding=dict(type="mmdino.RotaryPositions", head_dims=32, rescale=2),
    ),
    head=head,
    patch_head=head,
    loss=dict(teacher_temp=0.03),
    ibot=dict(teacher_temp=0.03),
    gram=dict(weight=2.0, teacher={}),
)
train_pipeline = [
    dict(type="mmdino.MultiCropTransform", views=views),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(
    collate_fn=dict(
        _delete_=True, type="mmdino.BlockMasks", view_size=48, patch_size=8, exact_counts=True
    ),
    dataset=dict(pipeline=train_pipeline),
)
default_hooks = dict(
    center_update=None,
    ema_teacher=dict(momentum=momentum),
    last_layer_freeze=dict(epochs=0),
    gram_anchor=dict(
        type="mmdino.GramAnchorHook",
        start=6 * steps_per_epoch,
        warmup=steps_per_epoch,
        first_refresh=6 * steps_per_epoch,
        refresh_interval=2 * steps_per_epoch,
        max_refreshes=2,
        local_weight=0.5,
    ),
)

# DINOv2 with a tiny ViT with patches of 4 pixels on CIFAR-10. What differs from
# dino_vitt4_cifar10.py is what DINOv2 adds; data, network, views, batch, length and rate are those
# of all methods: _base_/runs/vitt4_cifar10.py.
#
# Without one of the parts, or with Sinkhorn-Knopp in place of the centre, add --cfg-options and
#   model.ibot_weight=0
#   model.koleo_weight=0
#   model.loss.targets=sinkhorn_knopp model.ibot.targets=sinkhorn_knopp \
#       default_hooks.center_update=None
# On a CPU add: train_dataloader.dataset.every=5 train_cfg.max_epochs=14
_base_ = [
    "../_base_/runs/vitt4_cifar10.py",
    "../_base_/models/dinov2_vit.py",
    "../_base_/hooks/dinov2.py",
]

momentum = 0.99  # of the teacher; closer to 1 for longer runs
num_prototypes = 1024  # for classes and patches

model = dict(
    backbone=dict(_delete_=True, **_base_.vit, out_type="features", mask_token=True),
    head=dict(
        in_channels=_base_.width,
        out_channels=num_prototypes,
        hidden_channels=512,
        bottleneck_channels=128,
    ),
    loss=dict(teacher_temp=0.04),
    ibot=dict(teacher_temp=0.04),
)
train_dataloader = dict(
    collate_fn=dict(
        _delete_=True,
        type="mmdino.BlockMasks",
        view_size=_base_.global_size,
        patch_size=_base_.vit.patch_size,
    )
)
default_hooks = dict(ema_teacher=dict(momentum=momentum))

# The small backbone of dino_vitt4_cifar10.py, frozen, with a linear head, on CamVid at half its
# size. For a CPU: about five minutes on one core, validation included. The untrained network, to
# compare with: --cfg-options model.backbone.backbone.init_cfg=None
_base_ = [
    "../_base_/backbones/vitt4_cifar10.py",
    "../_base_/models/seg_linear_vit.py",
    "../_base_/datasets/camvid_half.py",
    "../_base_/schedules/seg_linear.py",
    "../_base_/schedules/seg_400.py",
    "../_base_/seg_runtime.py",
]

# The knobs. Of the shortened pretraining on a CPU, take epoch_14.pth.
checkpoint = "work_dirs/dino_vitt4_cifar10/epoch_200.pth"
lr = 0.01  # higher than for the long runs: a short one from normalised features

model = dict(
    data_preprocessor=dict(
        size=_base_.crop_size, test_cfg=dict(size_divisor=_base_.vit.patch_size)
    ),
    backbone=dict(
        backbone=dict(
            _delete_=True,
            **_base_.vit,
            out_type="featmap",
            out_indices=[_base_.depth - 1],
            init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
        )
    ),
    neck=dict(in_channels=[_base_.width]),
    decode_head=dict(
        in_channels=_base_.width, channels=_base_.width, num_classes=_base_.num_classes
    ),
    test_cfg=dict(crop_size=_base_.crop_size, stride=_base_.stride),
)
optim_wrapper = dict(optimizer=dict(lr=lr))
default_hooks = dict(checkpoint=dict(interval=_base_.train_cfg.val_interval))

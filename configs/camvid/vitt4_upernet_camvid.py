# UPerNet on the small backbone of dino_vitt4_cifar10.py, fine-tuned, on CamVid at half its size.
# The untrained network, to compare with: --cfg-options model.backbone.init_cfg=None
_base_ = [
    "../_base_/backbones/vitt4_cifar10.py",
    "../_base_/models/upernet_vit.py",
    "../_base_/datasets/camvid_half.py",
    "../_base_/schedules/seg_layer_decay.py",
    "../_base_/schedules/seg_400.py",
    "../_base_/seg_runtime.py",
]

# The knobs. Of the shortened pretraining on a CPU, take epoch_14.pth.
checkpoint = "work_dirs/dino_vitt4_cifar10/epoch_200.pth"
lr = 1e-3  # for a batch of 8
layer_decay_rate = 0.75

model = dict(
    data_preprocessor=dict(
        size=_base_.crop_size, test_cfg=dict(size_divisor=_base_.vit.patch_size)
    ),
    backbone=dict(
        _delete_=True,
        **_base_.vit,
        drop_path_rate=0.1,
        out_type="featmap",
        out_indices=[0, 1, 2, 3],
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    # Patches of 4 pixels are at stride 4 already: the pyramid is 2 to 16, and a CPU can do it.
    neck=dict(embed_dim=_base_.width, rescales=[2, 1, 0.5, 0.25]),
    decode_head=dict(in_channels=[_base_.width] * 4, channels=64, num_classes=_base_.num_classes),
    auxiliary_head=dict(in_channels=_base_.width, channels=64, num_classes=_base_.num_classes),
    test_cfg=dict(crop_size=_base_.crop_size, stride=_base_.stride),
)
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(layer_decay_rate=layer_decay_rate),
)
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(interval=_base_.train_cfg.val_interval))

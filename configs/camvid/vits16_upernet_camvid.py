# UPerNet on ViT-S/16, fine-tuned with layer-wise learning rates, on CamVid. One GPU.
_base_ = [
    "../_base_/models/upernet_vit.py",
    "../_base_/datasets/camvid.py",
    "../_base_/schedules/seg_layer_decay.py",
    "../_base_/schedules/seg_4k.py",
    "../_base_/seg_runtime.py",
]

# The knobs. Any checkpoint of this project, or the authors' file.
checkpoint = "work_dirs/dino_vits16/epoch_800.pth"
lr = 1e-4  # for a batch of 8; higher than on ADE20K, as the run is short
layer_decay_rate = 0.9

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(init_cfg=dict(type="Pretrained", checkpoint=checkpoint)),
    decode_head=dict(num_classes=_base_.num_classes),
    auxiliary_head=dict(num_classes=_base_.num_classes),
    test_cfg=dict(crop_size=_base_.crop_size, stride=_base_.stride),
)
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(layer_decay_rate=layer_decay_rate),
)
auto_scale_lr = dict(base_batch_size=8)
default_hooks = dict(checkpoint=dict(interval=_base_.train_cfg.val_interval))

# ViT-S/16, frozen, with a linear head, on CamVid. One GPU.
_base_ = [
    "../_base_/models/seg_linear_vit.py",
    "../_base_/datasets/camvid.py",
    "../_base_/schedules/seg_linear.py",
    "../_base_/schedules/seg_4k.py",
    "../_base_/seg_runtime.py",
]

# The knobs. Any checkpoint of this project, or the authors' file.
checkpoint = "work_dirs/dino_vits16/epoch_800.pth"

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(backbone=dict(init_cfg=dict(type="Pretrained", checkpoint=checkpoint))),
    decode_head=dict(num_classes=_base_.num_classes),
    test_cfg=dict(crop_size=_base_.crop_size, stride=_base_.stride),
)
default_hooks = dict(checkpoint=dict(interval=_base_.train_cfg.val_interval))

# Linear evaluation of ViT-S/16 on ImageNet: 8 GPUs x 128 images, 100 epochs. Published: 77.0.
_base_ = [
    "../_base_/models/linear_vit.py",
    "../_base_/datasets/imagenet_cls.py",
    "../_base_/schedules/linear_100ep.py",
    "../_base_/eval_runtime.py",
]
work_dir = "work_dirs/linear_vits16_imagenet"

checkpoint = "work_dirs/dino_vits16/epoch_800.pth"

model = dict(backbone=dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint))))

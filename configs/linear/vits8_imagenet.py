# Linear evaluation of ViT-S/8 on ImageNet. Published: 79.7.
_base_ = ["vits16_imagenet.py"]
work_dir = "work_dirs/linear_vits8_imagenet"

checkpoint = "work_dirs/dino_vits8/epoch_800.pth"

model = dict(backbone=dict(backbone=dict(patch_size=8, init_cfg=dict(checkpoint=checkpoint))))

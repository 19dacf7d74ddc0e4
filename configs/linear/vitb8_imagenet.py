# Linear evaluation of ViT-B/8 on ImageNet. Published: 80.1.
_base_ = ["vitb16_imagenet.py"]
work_dir = "work_dirs/linear_vitb8_imagenet"

checkpoint = "work_dirs/dino_vitb8/epoch_300.pth"

model = dict(backbone=dict(backbone=dict(patch_size=8, init_cfg=dict(checkpoint=checkpoint))))

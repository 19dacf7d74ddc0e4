# Linear evaluation of ViT-B/16 on ImageNet: class token and mean patch token of the last block, as
# the authors take them for ViT-B. Published: 78.2.
_base_ = ["vits16_imagenet.py"]
work_dir = "work_dirs/linear_vitb16_imagenet"

checkpoint = "work_dirs/dino_vitb16/epoch_400.pth"

model = dict(
    backbone=dict(
        backbone=dict(arch="deit-base", out_indices=[11], init_cfg=dict(checkpoint=checkpoint))
    ),
    neck=dict(mean_patch=True),
    head=dict(in_channels=2 * 768),
)

# ViT-B/16, frozen, with a linear head on the last block's patch tokens.
_base_ = ["vits16_linear_ade20k.py"]

# The knobs.
checkpoint = "work_dirs/dino_vitb16/epoch_400.pth"
width = 768

model = dict(
    backbone=dict(backbone=dict(arch="deit-base", init_cfg=dict(checkpoint=checkpoint))),
    neck=dict(in_channels=[width]),
    decode_head=dict(in_channels=width, channels=width),
)

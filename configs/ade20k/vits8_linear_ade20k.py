# ViT-S/8, frozen, with a linear head: four times the tokens of patches of 16.
_base_ = ["vits16_linear_ade20k.py"]

# The knobs.
checkpoint = "work_dirs/dino_vits8/epoch_800.pth"
patch_size = 8

model = dict(
    data_preprocessor=dict(test_cfg=dict(size_divisor=patch_size)),
    backbone=dict(backbone=dict(patch_size=patch_size, init_cfg=dict(checkpoint=checkpoint))),
)

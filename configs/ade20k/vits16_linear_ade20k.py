# ViT-S/16, frozen, with a linear head on the last block's patch tokens. 8 GPUs of 2 images.
_base_ = [
    "../_base_/models/seg_linear_vit.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/seg_linear.py",
    "../_base_/schedules/seg_160k.py",
    "../_base_/seg_runtime.py",
]

# The knobs. Any checkpoint of this project, or the authors' file.
checkpoint = "work_dirs/dino_vits16/epoch_800.pth"

model = dict(backbone=dict(backbone=dict(init_cfg=dict(type="Pretrained", checkpoint=checkpoint))))

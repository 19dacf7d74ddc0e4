# Distillation on the demo's drawn images: a student of half the width and two thirds of the depth
# learns from the DINOv2 of dinov2_demo.py, which has to be trained first. A few minutes on two CPU
# cores:
#   python tools/train.py configs/dinov2/dinov2_demo.py
#   python tools/train.py configs/dinov2/dinov2_distil_demo.py
_base_ = ["dinov2_demo.py"]

checkpoint = "work_dirs/dinov2_demo/epoch_12.pth"
width, depth, heads = 32, 2, 2

model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=width, num_layers=depth, num_heads=heads, feedforward_channels=4 * width
        ),
        # Nothing is masked.
        mask_token=False,
    ),
    head=dict(in_channels=width),
    frozen_teacher=dict(
        backbone=dict(**_base_.vit, out_type="features", mask_token=True),
        head=dict(type="mmdino.DINOHead", norm_last_layer=False, **_base_.head),
        checkpoint=checkpoint,
    ),
)
train_dataloader = dict(collate_fn=dict(_delete_=True, type="default_collate"))

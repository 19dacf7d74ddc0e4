# DINOv3's ViT-S/16 from the authors' file, frozen, with a linear head: batch norm and a 1x1
# convolution on the last block's patches, 40k iterations of 16 images, as the authors have it.
_base_ = [
    "../_base_/models/seg_linear_vit.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/seg_linear.py",
    "../_base_/schedules/seg_40k.py",
    "../_base_/seg_runtime.py",
]

# The knobs.
checkpoint = "dinov3_vits16_pretrain_lvd1689m.pth"

model = dict(
    backbone=dict(
        backbone=dict(
            num_registers=4,
            layer_scale_init_value=1e-5,
            mask_token=True,
            key_bias=False,
            norm_cfg=dict(type="LN", eps=1e-5),
            learned_positions=False,
            position_encoding=dict(type="mmdino.RotaryPositions"),
            init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
        )
    ),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=1e-3))

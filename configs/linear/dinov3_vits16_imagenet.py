# Linear evaluation of DINOv3's ViT-S/16 on ImageNet, from the authors' file, by DINOv2's protocol.
_base_ = ["dinov2_vits14_imagenet.py"]
work_dir = "work_dirs/linear_dinov3_vits16_imagenet"

checkpoint = "dinov3_vits16_pretrain_lvd1689m.pth"

model = dict(
    backbone=dict(
        backbone=dict(
            img_size=224,
            patch_size=16,
            num_registers=4,
            key_bias=False,
            norm_cfg=dict(type="LN", eps=1e-5),
            learned_positions=False,
            position_encoding=dict(type="mmdino.RotaryPositions"),
            init_cfg=dict(checkpoint=checkpoint),
        )
    ),
)

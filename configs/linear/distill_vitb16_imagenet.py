# Linear evaluation of the student of DINO ViT-B/16 on ImageNet, as vitb16_imagenet.py evaluates the
# teacher. Published: 76.1, the teacher 78.2 (from memory of the paper, not checked): linear
# evaluation loses where fine-tuning gains.
# The authors' script (main_linear.py; they released no config) has another feature, the mean of the
# patches, normalised by LayerNorm and by batch norm, and LARS.
_base_ = ["vitb16_imagenet.py"]
work_dir = "work_dirs/linear_distill_vitb16_imagenet"

checkpoint = "work_dirs/distill_dino_vitb16_300ep/epoch_300.pth"

model = dict(
    backbone=dict(
        backbone=dict(
            arch="vit-b",
            key_bias=False,
            learned_positions=False,
            layer_scale_init_value=0.1,
            position_encoding=dict(type="mmdino.RelativePositionBias", num_heads=12, grid=14),
            init_cfg=dict(checkpoint=checkpoint),
        )
    )
)

# UPerNet on the student of DINO ViT-B/16, fine-tuned with layer-wise learning rates: the recipe of
# vitb16_upernet_ade20k.py, so that the two can be compared. 8 GPUs of 2 images. Published: 47.7,
# the teacher 46.2 (from memory of the paper, not checked; UPerNet, 160k iterations, crops of 512;
# its rates are not known and its code was not released).
# Each block has its own copy of the shared table, which grows from 14 x 14 patches to 32 x 32.
_base_ = ["vitb16_upernet_ade20k.py"]

# The knobs. A checkpoint of a distillation.
checkpoint = "work_dirs/distill_dino_vitb16_300ep/epoch_300.pth"

model = dict(
    backbone=dict(
        arch="vit-b",
        key_bias=False,
        learned_positions=False,
        layer_scale_init_value=0.1,
        position_encoding=dict(type="mmdino.RelativePositionBias", num_heads=12, grid=32),
        position_encoding_per_block=True,
        init_cfg=dict(checkpoint=checkpoint),
    )
)

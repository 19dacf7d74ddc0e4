# Fine-tuning of the student of distill_demo.py on drawn images, on the mean of its patches: about a
# minute on one CPU core. The table of relative positions grows from 6 x 6 patches to 8 x 8.
_base_ = ["distill_demo_teacher.py"]
work_dir = "work_dirs/finetune_distill_demo"

checkpoint = "work_dirs/distill_demo/epoch_20.pth"

model = dict(
    backbone=dict(
        key_bias=False,
        learned_positions=False,
        layer_scale_init_value=0.1,
        position_encoding=dict(type="mmdino.RelativePositionBias", num_heads=_base_.heads, grid=8),
        position_encoding_per_block=True,
        init_cfg=dict(checkpoint=checkpoint),
    )
)

# Linear evaluation of the student of distill_demo.py on drawn images, as demo.py evaluates its
# teacher: a minute on one CPU core.
_base_ = ["demo.py"]
work_dir = "work_dirs/linear_distill_demo"

checkpoint = "work_dirs/distill_demo/epoch_20.pth"

model = dict(
    backbone=dict(
        backbone=dict(
            key_bias=False,
            learned_positions=False,
            layer_scale_init_value=0.1,
            position_encoding=dict(
                type="mmdino.RelativePositionBias", num_heads=_base_.heads, grid=6
            ),
            init_cfg=dict(checkpoint=checkpoint),
        )
    )
)

# Linear evaluation of the student of distill_vitt4_cifar10.py on CIFAR-10, as vitt4_cifar10.py
# evaluates its teacher, for one GPU or a CPU.
_base_ = ["vitt4_cifar10.py"]
work_dir = "work_dirs/linear_distill_vitt4_cifar10"

checkpoint = "work_dirs/distill_vitt4_cifar10/epoch_100.pth"

model = dict(
    backbone=dict(
        backbone=dict(
            key_bias=False,
            learned_positions=False,
            layer_scale_init_value=0.1,
            position_encoding=dict(
                type="mmdino.RelativePositionBias", num_heads=_base_.heads, grid=8
            ),
            init_cfg=dict(checkpoint=checkpoint),
        )
    )
)

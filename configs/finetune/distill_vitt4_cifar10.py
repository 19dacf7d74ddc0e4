# Fine-tuning of the student of distill_vitt4_cifar10.py on CIFAR-10, for one GPU or a CPU: each
# block has its own copy of the shared table of relative positions. On a CPU as vitt4_cifar10.py.
_base_ = ["distill_vitt4_teacher_cifar10.py"]
work_dir = "work_dirs/finetune_distill_vitt4_cifar10"

checkpoint = "work_dirs/distill_vitt4_cifar10/epoch_100.pth"

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

# Fine-tuning of dino_vitt4_cifar10.py on CIFAR-10 with the recipe of its student,
# distill_vitt4_cifar10.py: on the mean of the patches, normalised after the mean in place of the
# final norm. On a CPU as vitt4_cifar10.py.
_base_ = ["vitt4_cifar10.py"]
work_dir = "work_dirs/finetune_distill_vitt4_teacher_cifar10"

model = dict(
    backbone=dict(out_type="features", final_norm=False),
    neck=dict(
        type="mmdino.TokenFeature",
        mean_patch=True,
        class_token=False,
        norm_cfg=dict(type="LN", eps=1e-6),
        in_channels=_base_.width,
    ),
)

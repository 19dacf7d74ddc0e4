# Fine-tuning of the demo's teacher with the recipe of its student, distill_demo.py: on the mean of
# its patches.
_base_ = ["demo.py"]
work_dir = "work_dirs/finetune_distill_demo_teacher"

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

# Feature distillation on the demo's drawn images: the DINO of dino_demo.py, which has to be trained
# first, teaches a student of its size with a shared table of relative positions. A minute or two on
# two CPU cores:
#   python tools/train.py configs/dino_demo.py
#   python tools/train.py configs/distillation/distill_demo.py
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/backbones/demo.py",
    "../_base_/datasets/shapes.py",
    "../_base_/schedules/adamw_feature_distillation.py",
]

checkpoint = "work_dirs/dino_demo/epoch_12.pth"
max_epochs = 20

model = dict(
    type="mmdino.FeatureDistillation",
    backbone=dict(
        **_base_.vit,
        out_type="features",
        key_bias=False,
        learned_positions=False,
        layer_scale_init_value=0.1,
        weight_init="beit",
        drop_path_rate=0.05,
        position_encoding=dict(type="mmdino.RelativePositionBias", num_heads=_base_.heads, grid=6),
    ),
    teacher=dict(
        backbone=dict(**_base_.vit, out_type="features"),
        checkpoint=checkpoint,
    ),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

train_pipeline = [
    dict(
        type="mmdino.MultiCropTransform",
        views=[
            dict(
                num=1,
                size=_base_.global_size,
                scale=(0.5, 1.0),
                interpolation="bilinear",
                jitter_prob=0.0,
                gray_prob=0.0,
            )
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.032))  # for a batch of 512: 0.002 at 32
param_scheduler = [dict(_base_.lr_schedule, warmup=1)]
train_cfg = dict(max_epochs=max_epochs, val_interval=4, val_at_start=True)

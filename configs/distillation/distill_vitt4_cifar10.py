# Feature distillation on CIFAR-10 with a tiny ViT: that of dino_vitt4_cifar10.py, which has to be
# trained first, teaches a student of its size. The README has the variants.
#   python tools/train.py configs/dino_vitt4_cifar10.py
#   python tools/train.py configs/distillation/distill_vitt4_cifar10.py
# On a CPU add to both: --cfg-options train_dataloader.dataset.every=5 train_cfg.max_epochs=14
# and here model.teacher.checkpoint=work_dirs/dino_vitt4_cifar10/epoch_14.pth
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/backbones/vitt4_cifar10.py",
    "../_base_/datasets/cifar10.py",
    "../_base_/schedules/adamw_feature_distillation.py",
]

checkpoint = "work_dirs/dino_vitt4_cifar10/epoch_200.pth"
max_epochs = 100
lr = 0.004  # for a batch of 512: 0.0005 at 64

model = dict(
    type="mmdino.FeatureDistillation",
    backbone=dict(
        **_base_.vit,
        out_type="features",
        key_bias=False,
        learned_positions=False,
        layer_scale_init_value=0.1,
        weight_init="beit",
        drop_path_rate=0.1,
        position_encoding=dict(type="mmdino.RelativePositionBias", num_heads=_base_.heads, grid=8),
    ),
    teacher=dict(
        backbone=dict(**_base_.vit, out_type="features"),
        checkpoint=checkpoint,
    ),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        views=[
            dict(
                num=1,
                size=32,
                scale=(0.4, 1.0),
                interpolation="bilinear",
                jitter_prob=0.0,
                gray_prob=0.0,
            )
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [dict(_base_.lr_schedule, warmup=1)]
train_cfg = dict(max_epochs=max_epochs, val_interval=2, val_at_start=True)

# Fine-tuning of dino_demo.py on drawn images: about a minute on one CPU core.
_base_ = [
    "../_base_/backbones/demo.py",
    "../_base_/models/finetune_vit.py",
    "../_base_/datasets/shapes_cls.py",
    "../_base_/schedules/finetune_300ep.py",
    "../_base_/eval_runtime.py",
]
work_dir = "work_dirs/finetune_demo"

checkpoint = "work_dirs/dino_demo/epoch_12.pth"
max_epochs = 10
lr = 0.004  # for a batch of 512: 0.001 at 128

model = dict(
    data_preprocessor=dict(num_classes=10),
    backbone=dict(
        _delete_=True,
        **_base_.vit,
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    head=dict(in_channels=_base_.width, num_classes=10),
    # Ten epochs are too few for mixed images.
    train_cfg=None,
)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [dict(_base_.lr_schedule, warmup=1)]
default_hooks = dict(logger=dict(interval=5))
train_cfg = dict(max_epochs=max_epochs, val_interval=2)

# Linear evaluation of dino_demo.py on drawn images: a minute on one CPU core.
_base_ = [
    "../_base_/backbones/demo.py",
    "../_base_/models/linear_vit.py",
    "../_base_/datasets/shapes_cls.py",
    "../_base_/schedules/linear_100ep.py",
    "../_base_/eval_runtime.py",
]
work_dir = "work_dirs/linear_demo"

checkpoint = "work_dirs/dino_demo/epoch_12.pth"
max_epochs = 20
lrs = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # high, since the feature is narrow

model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            **_base_.vit,
            out_indices=[0, 1, 2],
            out_type="features",
            norm_outputs=True,
            init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
        )
    ),
    head=dict(in_channels=3 * _base_.width, num_classes=10, lrs=lrs),
)
default_hooks = dict(logger=dict(interval=10))
train_cfg = dict(max_epochs=max_epochs)

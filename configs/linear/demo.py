# Linear evaluation of dino_demo.py on drawn images: a minute on one CPU core.
_base_ = [
    "../_base_/models/linear_vit.py",
    "../_base_/datasets/shapes_cls.py",
    "../_base_/schedules/linear_100ep.py",
    "../_base_/eval_runtime.py",
]
work_dir = "work_dirs/linear_demo"

checkpoint = "work_dirs/dino_demo/epoch_12.pth"
max_epochs = 20
width, depth, heads = 64, 3, 2  # as in the pretraining
lrs = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # so narrow a feature wants high ones

model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            type="mmdino.DINOVisionTransformer",
            arch=dict(
                embed_dims=width,
                num_layers=depth,
                num_heads=heads,
                feedforward_channels=4 * width,
            ),
            img_size=48,
            patch_size=8,
            out_indices=[0, 1, 2],
            out_type="raw",
            norm_outputs=True,
            init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
        )
    ),
    head=dict(in_channels=3 * width, num_classes=10, lrs=lrs),
)
default_hooks = dict(logger=dict(interval=10))
train_cfg = dict(max_epochs=max_epochs)

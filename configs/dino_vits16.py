# The published ViT-S/16: 800 epochs, 2 global and 10 local views, 8 GPUs x 128 images.
# Published (the authors' README): k-NN 74.5, linear 77.0. For a first run take
# dino_vits16_100ep.py.
# Second-hand, not verified: all that differs from dino_vits16_300ep.py, from copies of the authors'
# args.txt in other repositories. By those the authors computed in float32: --amp off.
_base_ = ["dino_vits16_300ep.py"]

train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        color="fused",
        views=[
            dict(num=1, size=224, scale=(0.25, 1.0), blur_prob=1.0),
            dict(num=1, size=224, scale=(0.25, 1.0), blur_prob=0.1, solarize_prob=0.2),
            dict(num=10, size=96, scale=(0.05, 0.25), blur_prob=0.5),
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(clip_grad=None)
param_scheduler = [dict(_base_.lr_schedule, end_lr=1e-5), _base_.decay_schedule]
train_cfg = dict(max_epochs=800)

# distill_clip_vitb16_300ep.py for 100 epochs, with the authors' values: less stochastic depth, and
# crops of 67 % of the image or more.
_base_ = ["distill_clip_vitb16_300ep.py"]

model = dict(backbone=dict(drop_path_rate=0.1))
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        color="fused",
        views=[dict(_base_.view, scale=(0.67, 1.0))],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=100)

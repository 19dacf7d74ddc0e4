# ImageNet with the one view that student and teacher both see (data_finetune.py of the authors): a
# bilinear crop and a flip, no change of colours.
_base_ = ["../datasets/imagenet.py"]

view = dict(
    num=1,
    size=224,
    scale=(0.08, 1.0),
    interpolation="bilinear",
    jitter_prob=0.0,
    gray_prob=0.0,
)
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="mmdino.MultiCropTransform", color="fused", views=[view]),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

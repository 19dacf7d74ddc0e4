# ImageNet with SwAV's 2 views of 224 and 6 of 96 pixels in SimCLR's colours (scripts/*.sh and
# src/multicropdataset.py of the authors), resized bilinearly, torchvision's default.
# _two_crop_pipeline is that of their run without local views.
_base_ = ["../datasets/imagenet.py"]

view = dict(
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    blur_prob=0.5,
    interpolation="bilinear",
)
two_crop_views = [dict(num=2, size=224, scale=(0.08, 1.0), **view)]
multi_crop_views = [
    dict(num=2, size=224, scale=(0.14, 1.0), **view),
    dict(num=6, size=96, scale=(0.05, 0.14), **view),
]

# Colours one after the other: fused ones were compared for DINO's jitter only.
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="mmdino.MultiCropTransform", views=multi_crop_views),
    dict(type="mmdino.PackViews"),
]
_two_crop_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="mmdino.MultiCropTransform", views=two_crop_views),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

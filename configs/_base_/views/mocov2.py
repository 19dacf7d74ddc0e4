# ImageNet with two views of one kind, MoCo v2's, which SimSiam has (main_simsiam.py of the
# authors), resized bilinearly, torchvision's default.
_base_ = ["../datasets/imagenet.py"]

view = dict(
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    blur_prob=0.5,
    interpolation="bilinear",
)
global_views = [dict(num=2, size=224, scale=(0.2, 1.0), **view)]
# None published for this method: the local views are SwAV's.
multi_crop_views = [*global_views, dict(num=6, size=96, scale=(0.05, 0.2), **view)]

# Colours one after the other: fused ones were compared for DINO's jitter only.
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="mmdino.MultiCropTransform", views=global_views),
    dict(type="mmdino.PackViews"),
]
_multi_crop_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="mmdino.MultiCropTransform", views=multi_crop_views),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

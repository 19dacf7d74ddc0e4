# ImageNet with two views of one kind, SimCLR's with colour strength 1 (Chen et al. 2020, appendix
# A; data_util.py of the authors).
_base_ = ["../datasets/imagenet.py"]

colors = dict(brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, blur_prob=0.5)
global_views = [dict(num=2, size=224, scale=(0.08, 1.0), **colors)]
# SwAV's, with which its paper trained SimCLR too (second-hand).
multi_crop_views = [
    dict(num=2, size=224, scale=(0.14, 1.0), **colors),
    dict(num=6, size=96, scale=(0.05, 0.14), **colors),
]

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

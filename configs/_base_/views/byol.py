# ImageNet with BYOL's two views (Grill et al. 2020, appendix B; byol/utils/augmentations.py of the
# authors), which Barlow Twins has too (main.py of its authors). The colour changes are the defaults
# of MultiCropTransform, which DINO took from BYOL.
_base_ = ["../datasets/imagenet.py"]

global_views = [
    dict(num=1, size=224, scale=(0.08, 1.0), blur_prob=1.0),
    dict(num=1, size=224, scale=(0.08, 1.0), blur_prob=0.1, solarize_prob=0.2),
]
# None published for these methods: sizes and scales are SwAV's, the colours those of DINO.
multi_crop_views = [
    dict(num=1, size=224, scale=(0.14, 1.0), blur_prob=1.0),
    dict(num=1, size=224, scale=(0.14, 1.0), blur_prob=0.1, solarize_prob=0.2),
    dict(num=6, size=96, scale=(0.05, 0.14), blur_prob=0.5),
]

train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="mmdino.MultiCropTransform", color="fused", views=global_views),
    dict(type="mmdino.PackViews"),
]
_multi_crop_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="mmdino.MultiCropTransform", color="fused", views=multi_crop_views),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

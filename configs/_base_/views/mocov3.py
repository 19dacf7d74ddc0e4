# ImageNet with MoCo v3's two views for ResNet-50: BYOL's with larger crops, resized bilinearly,
# torchvision's default (main_moco.py and CONFIG.md of the authors: --crop-min=.2). For ViT the
# authors' crops are from 0.08.
_base_ = ["../datasets/imagenet.py"]

global_views = [
    dict(num=1, size=224, scale=(0.2, 1.0), blur_prob=1.0, interpolation="bilinear"),
    dict(
        num=1,
        size=224,
        scale=(0.2, 1.0),
        blur_prob=0.1,
        solarize_prob=0.2,
        interpolation="bilinear",
    ),
]
# None published for this method: the local views are SwAV's, their colours those of DINO.
multi_crop_views = [
    *global_views,
    dict(num=6, size=96, scale=(0.05, 0.2), blur_prob=0.5, interpolation="bilinear"),
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

# CIFAR-10 with the views that all methods have here, so that they can be compared. Without the
# local views: --cfg-options train_dataloader.dataset.pipeline.1.views.2.num=0
_base_ = ["../datasets/cifar10.py"]

batch_size = 64  # small batches give a small set more steps
global_size, local_size = 24, 12  # smaller than the image: a third of the work, and k-NN sees 32

# No blur: at this size it removes the content.
_global_views = [
    dict(num=1, size=global_size, scale=(0.4, 1.0)),
    dict(num=1, size=global_size, scale=(0.4, 1.0), solarize_prob=0.2),
]
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        views=[*_global_views, dict(num=4, size=local_size, scale=(0.1, 0.4))],
    ),
    dict(type="mmdino.PackViews"),
]
_two_crop_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="mmdino.MultiCropTransform", views=_global_views),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(batch_size=batch_size, dataset=dict(pipeline=train_pipeline))

# ResNet-50 with SGD. Published after 800 epochs: k-NN 67.5, linear 75.3.
_base_ = [
    "_base_/models/dino_resnet50.py",
    "_base_/datasets/imagenet.py",
    "_base_/schedules/sgd_100ep.py",
    "_base_/hooks/dino.py",
]

train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        color="fused",
        views=[
            dict(num=1, size=224, scale=(0.14, 1.0), blur_prob=1.0),
            dict(num=1, size=224, scale=(0.14, 1.0), blur_prob=0.1, solarize_prob=0.2),
            dict(num=8, size=96, scale=(0.05, 0.14), blur_prob=0.5),
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
train_cfg = dict(max_epochs=800)

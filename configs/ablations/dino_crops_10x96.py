# Two global and 10 local views. Paper: table 8, linear 76.1 (74.6 after 100 epochs;
# second-hand). The table does not give the scales: those of the published ViT-S/16.
_base_ = ["../dino_vits16_300ep.py"]

train_pipeline = [
    _base_.train_pipeline[0],
    dict(
        _base_.train_pipeline[1],
        views=[
            dict(num=1, size=224, scale=(0.25, 1.0), blur_prob=1.0),
            dict(num=1, size=224, scale=(0.25, 1.0), blur_prob=0.1, solarize_prob=0.2),
            dict(num=10, size=96, scale=(0.05, 0.25), blur_prob=0.5),
        ],
    ),
    _base_.train_pipeline[2],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

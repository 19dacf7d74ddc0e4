# Global views of at least 0.32 of the image, and six local ones of at most that. Paper: appendix E,
# k-NN 69.8 (second-hand).
_base_ = ["../dino_vits16_100ep.py"]

train_pipeline = [
    _base_.train_pipeline[0],
    dict(
        _base_.train_pipeline[1],
        views=[
            dict(num=1, size=224, scale=(0.32, 1.0), blur_prob=1.0),
            dict(num=1, size=224, scale=(0.32, 1.0), blur_prob=0.1, solarize_prob=0.2),
            dict(num=6, size=96, scale=(0.05, 0.32), blur_prob=0.5),
        ],
    ),
    _base_.train_pipeline[2],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

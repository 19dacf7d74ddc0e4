# Two global views and no local ones, of a wider range of scales, as the authors' code advises.
# Paper: table 7, row 4, k-NN 67.9, linear 72.5 against 72.8 and 76.1 (second-hand).
_base_ = ["../dino_vits16_300ep.py"]

train_pipeline = [
    _base_.train_pipeline[0],
    dict(
        _base_.train_pipeline[1],
        views=[
            dict(num=1, size=224, scale=(0.14, 1.0), blur_prob=1.0),
            dict(num=1, size=224, scale=(0.14, 1.0), blur_prob=0.1, solarize_prob=0.2),
        ],
    ),
    _base_.train_pipeline[2],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

# ImageNet with DeiT's augmentation for fine-tuning; mixup and cutmix are in the model.
_base_ = ["imagenet_cls.py"]

# Pipelines work on BGR.
fill_color, fill_std = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]

train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="RandomResizedCrop", scale=224, backend="pillow", interpolation="bicubic"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(
        type="RandAugment",
        policies="timm_increasing",
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation="bicubic"),
    ),
    dict(
        type="RandomErasing",
        erase_prob=0.25,
        mode="rand",
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=fill_color,
        fill_std=fill_std,
    ),
    dict(type="PackInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

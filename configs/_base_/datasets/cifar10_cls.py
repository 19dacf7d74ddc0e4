# CIFAR-10 as folders of classes: data/cifar10/train/airplane/*, data/cifar10/test/airplane/*.
data_root = "data/cifar10/"

train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    # Images are small: a crop of a tenth of one, as on ImageNet, leaves nothing to see.
    dict(
        type="RandomResizedCrop",
        scale=32,
        crop_ratio_range=(0.4, 1.0),
        backend="pillow",
        interpolation="bicubic",
    ),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]

train_dataloader = dict(
    batch_size=256,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="mmdino.EpochSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="mmdino.ImageFolder",
        data_root=data_root + "train",
        with_label=True,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=2,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="mmdino.ImageFolder",
        data_root=data_root + "test",
        with_label=True,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
val_cfg = dict(type="ValLoop")

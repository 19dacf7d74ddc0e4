# ImageNet as folders of classes: data/imagenet/train/n01440764/*.JPEG, data/imagenet/val/<same>.
# Crop and flip in training, centre crop in testing, as the authors' linear evaluation has them.
data_root = "data/imagenet/"

train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="RandomResizedCrop", scale=224, backend="pillow", interpolation="bilinear"),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]

train_dataloader = dict(
    batch_size=128,  # per process
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type="mmdino.EpochSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    # fraction=0.01 uses 1 % of each class. The fixed lists of images that SimCLR's authors
    # drew can go in as ann_file, with lines "n01440764/x.JPEG 0"; a path below data_root.
    dataset=dict(
        type="mmdino.ImageFolder",
        data_root=data_root + "train",
        with_label=True,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=10,
    pin_memory=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="mmdino.ImageFolder",
        data_root=data_root + "val",
        with_label=True,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
val_cfg = dict(type="ValLoop")

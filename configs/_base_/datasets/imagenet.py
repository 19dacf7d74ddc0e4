# ImageNet as folders of classes: data/imagenet/train/n01440764/*.JPEG, data/imagenet/val/<same>.
# Labels are read for k-NN only.
data_root = "data/imagenet/"

train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    # With no argument: the paper's 2 global views of 224 and 8 local views of 96 pixels.
    # Fused: faster, and shown to be equivalent on photographs (docs/performance.md).
    dict(type="mmdino.MultiCropTransform", color="fused"),
    dict(type="mmdino.PackViews"),
]
knn_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="ResizeEdge", scale=256, edge="short", backend="pillow", interpolation="bicubic"),
    dict(type="CenterCrop", crop_size=224),
    dict(type="PackInputs"),
]

train_dataloader = dict(
    batch_size=128,  # per process; the paper's 1024 on 8 GPUs
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type="mmdino.EpochSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(type="mmdino.ImageFolder", data_root=data_root + "train", pipeline=train_pipeline),
)
knn_dataloader = dict(
    batch_size=128,
    num_workers=10,
    pin_memory=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
)
val_dataloader = dict(
    **knn_dataloader,
    dataset=dict(
        type="mmdino.ImageFolder",
        data_root=data_root + "val",
        with_label=True,
        test_mode=True,
        pipeline=knn_pipeline,
    ),
)
val_cfg = dict(
    type="mmdino.KNNValLoop",
    bank_dataloader=dict(
        **knn_dataloader,
        dataset=dict(
            type="mmdino.ImageFolder",
            data_root=data_root + "train",
            with_label=True,
            test_mode=True,
            pipeline=knn_pipeline,
        ),
    ),
)
val_evaluator = dict(type="mmdino.KNNMetric", k=(10, 20, 100, 200), temperature=0.07)

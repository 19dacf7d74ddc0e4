# CIFAR-10 as folders of classes: data/cifar10/train/airplane/*, data/cifar10/test/airplane/*.
# Labels are read for k-NN only.
data_root = "data/cifar10/"

train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        # Blur is left out: at 32 pixels it leaves nothing to see.
        views=[
            dict(num=1, size=32, scale=(0.4, 1.0)),
            dict(num=1, size=32, scale=(0.4, 1.0), solarize_prob=0.2),
            dict(num=4, size=16, scale=(0.1, 0.4)),
        ],
    ),
    dict(type="PackInputs"),
]
knn_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]

train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="mmdino.EpochSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="mmdino.ImageFolder", data_root=data_root + "train", pipeline=train_pipeline
    ),
)
knn_dataloader = dict(
    batch_size=256,
    num_workers=2,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
)
# Every fifth image: a bank of 10,000 and 2,000 queries, balanced over the classes.
val_dataloader = dict(
    **knn_dataloader,
    dataset=dict(
        type="mmdino.ImageFolder",
        data_root=data_root + "test",
        with_label=True,
        every=5,
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
            every=5,
            test_mode=True,
            pipeline=knn_pipeline,
        ),
    ),
)
val_evaluator = dict(type="mmdino.KNNMetric", k=(10, 20, 100, 200), temperature=0.07)

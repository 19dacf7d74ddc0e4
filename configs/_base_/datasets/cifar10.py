# CIFAR-10 as folders of classes: data/cifar10/train/airplane/*, data/cifar10/test/airplane/*.
# Labels are read for k-NN only.
data_root = "data/cifar10/"

knn_pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]

train_dataloader = dict(
    batch_size=128,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="mmdino.EpochSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    # The config adds the pipeline, whose views it chooses.
    dataset=dict(type="mmdino.ImageFolder", data_root=data_root + "train"),
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

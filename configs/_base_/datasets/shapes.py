# Drawn images with 2 global and 2 local views, and k-NN over ten classes of shapes: no data needed.
batch_size = 32
global_size, local_size = 48, 32

jitter = dict(brightness=0.2, contrast=0.2, blur_sigma=(0.1, 1.0))
train_pipeline = [
    dict(
        type="mmdino.MultiCropTransform",
        views=[
            dict(num=1, size=global_size, scale=(0.5, 1.0), blur_prob=0.3, **jitter),
            dict(num=1, size=global_size, scale=(0.5, 1.0), blur_prob=0.1, **jitter),
            dict(num=2, size=local_size, scale=(0.25, 0.6), blur_prob=0.1, **jitter),
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="mmdino.EpochSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="mmdino.DrawnShapes", num_images=2000, split="train", pipeline=train_pipeline
    ),
)
knn_dataloader = dict(
    batch_size=250,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
)
val_dataloader = dict(
    **knn_dataloader,
    dataset=dict(
        type="mmdino.DrawnShapes",
        num_images=1000,
        split="test",
        test_mode=True,
        pipeline=[dict(type="PackInputs")],
    ),
)
val_cfg = dict(
    type="mmdino.KNNValLoop",
    bank_dataloader=dict(
        **knn_dataloader,
        dataset=dict(
            type="mmdino.DrawnShapes",
            num_images=2000,
            split="train",
            test_mode=True,
            pipeline=[dict(type="PackInputs")],
        ),
    ),
)
val_evaluator = dict(type="mmdino.KNNMetric", k=20, temperature=0.07)

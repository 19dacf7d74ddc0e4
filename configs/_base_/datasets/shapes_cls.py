# The demo's drawn images: no data needed.
image_size = 64

train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="mmdino.EpochSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="mmdino.DrawnShapes",
        num_images=2000,
        image_size=image_size,
        split="train",
        pipeline=[
            dict(
                type="RandomResizedCrop",
                scale=image_size,
                crop_ratio_range=(0.5, 1.0),
                backend="pillow",
                interpolation="bicubic",
            ),
            dict(type="RandomFlip", prob=0.5, direction="horizontal"),
            dict(type="PackInputs"),
        ],
    ),
)
val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="default_collate"),
    dataset=dict(
        type="mmdino.DrawnShapes",
        num_images=1000,
        image_size=image_size,
        split="test",
        test_mode=True,
        pipeline=[dict(type="PackInputs")],
    ),
)
val_cfg = dict(type="ValLoop")

# A few minutes on two CPU cores, no data needed: the images are drawn. The log ends with the k-NN
# accuracy of the trained teacher and of the untrained one, and the work dir has a figure.
_base_ = [
    "_base_/backbones/demo.py",
    "_base_/models/dino_vit.py",
    "_base_/schedules/adamw_100ep.py",
    "_base_/hooks/dino.py",
]

# A network this small on so few images needs a fast teacher, a sharp target and few prototypes. For
# your own images, start from dino_folder.py instead. The network is in _base_/backbones/demo.py.
max_epochs = 12
batch_size = 32
lr = 0.016  # for a batch of 256: 0.002 at 32
momentum = 0.95
num_prototypes = 256
global_size, local_size = 48, 32

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    head=dict(
        in_channels=_base_.width,
        out_channels=num_prototypes,
        hidden_channels=256,
        bottleneck_channels=128,
        use_bn=True,
    ),
    loss=dict(teacher_temp=0.03, center_momentum=0.8),
)
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

optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(_base_.lr_schedule, warmup=1),
    dict(_base_.decay_schedule, end_value=0.1),
]
default_hooks = dict(
    ema_teacher=dict(momentum=momentum),
    last_layer_freeze=dict(epochs=0),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=2, val_at_start=True)

# A tiny ViT with patches of 4 pixels on CIFAR-10, images of 32 pixels, for one GPU or a CPU.
# The images lie in data/cifar10/{train,test}/<class>/; any CIFAR-10 written as image files will do.
# On a CPU add: --cfg-options train_dataloader.dataset.every=5 train_cfg.max_epochs=14
_base_ = [
    "_base_/backbones/vitt4_cifar10.py",
    "_base_/models/dino_vit.py",
    "_base_/datasets/cifar10.py",
    "_base_/schedules/adamw_100ep.py",
    "_base_/hooks/dino.py",
]

# What to change first; the network is in _base_/backbones/vitt4_cifar10.py.
max_epochs = 200  # more steps help for long
warmup_epochs = 1  # lengthen it if the loss stays near ln K
batch_size = 64  # small batches give a small set more steps
lr = 0.002  # for a batch of 256: 0.0005 at 64
momentum = 0.99  # of the teacher; closer to 1 for longer runs
num_prototypes = 1024  # more than kinds of objects; the paper's 65536 is for ImageNet
global_size, local_size = 24, 12  # smaller than the image: a third of the work, and k-NN sees 32

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    head=dict(
        in_channels=_base_.width,
        out_channels=num_prototypes,
        hidden_channels=512,
        bottleneck_channels=128,
    ),
)
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        # No blur: at this size it removes the content.
        views=[
            dict(num=1, size=global_size, scale=(0.4, 1.0)),
            dict(num=1, size=global_size, scale=(0.4, 1.0), solarize_prob=0.2),
            dict(num=4, size=local_size, scale=(0.1, 0.4)),
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(batch_size=batch_size, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(_base_.lr_schedule, warmup=warmup_epochs),
    dict(_base_.decay_schedule, end_value=0.1),
]
default_hooks = dict(ema_teacher=dict(momentum=momentum))
train_cfg = dict(max_epochs=max_epochs, val_interval=2, val_at_start=True)

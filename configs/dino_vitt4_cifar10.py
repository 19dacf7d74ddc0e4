# A tiny ViT with patches of 4 pixels on images of 32, for one GPU or a CPU.
_base_ = [
    "_base_/models/dino_vit.py",
    "_base_/datasets/cifar10.py",
    "_base_/schedules/adamw_100ep.py",
    "_base_/default_runtime.py",
]

max_epochs = 20
warmup_epochs = 2
batch_size = 64
lr = 0.002
momentum = 0.99
num_prototypes = 2048
width, depth, heads = 192, 4, 3

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmdino.DINOVisionTransformer",
        arch=dict(
            embed_dims=width,
            num_layers=depth,
            num_heads=heads,
            feedforward_channels=4 * width,
        ),
        img_size=32,
        patch_size=4,
        drop_path_rate=0.0,
    ),
    head=dict(in_channels=width, out_channels=num_prototypes, hidden_channels=512, bottleneck_channels=128),
    view_sizes=(32, 16),
)
train_dataloader = dict(batch_size=batch_size)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(
        type="mmdino.WarmupCosineLR",
        warmup=warmup_epochs,
        end_lr=1e-6,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
    dict(
        type="mmdino.CosineWeightDecay",
        end_value=0.1,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(ema_teacher=dict(momentum=momentum))
train_cfg = dict(max_epochs=max_epochs, val_interval=2, val_at_start=True)

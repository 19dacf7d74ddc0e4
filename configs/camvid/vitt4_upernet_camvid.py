# UPerNet on the small backbone of dino_vitt4_cifar10.py, fine-tuned, on CamVid at half its size.
# The same network untrained: --cfg-options model.backbone.init_cfg=None
_base_ = ["vits16_upernet_camvid.py"]

# The knobs.
checkpoint = "work_dirs/dino_vitt4_cifar10/epoch_200.pth"
batch_size = 8
max_iters = 400
warmup_iters = 20
lr = 1e-3  # of a batch of 8
layer_decay_rate = 0.75
width, depth, heads, patch_size = 128, 4, 4, 4
scale = (240, 180)
crop_size = (128, 128)
stride = (85, 85)

model = dict(
    data_preprocessor=dict(size=crop_size, test_cfg=dict(size_divisor=patch_size)),
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=width,
            num_layers=depth,
            num_heads=heads,
            feedforward_channels=4 * width,
        ),
        img_size=32,
        patch_size=patch_size,
        out_indices=[0, 1, 2, 3],
        init_cfg=dict(checkpoint=checkpoint),
    ),
    # Patches of 4 pixels are at stride 4 already: the pyramid is 2 to 16, and a CPU can do it.
    neck=dict(embed_dim=width, rescales=[2, 1, 0.5, 0.25]),
    decode_head=dict(in_channels=[width] * 4, channels=64),
    auxiliary_head=dict(in_channels=width, channels=64),
    test_cfg=dict(crop_size=crop_size, stride=stride),
)
load_masks = _base_.load_masks
train_pipeline = [
    dict(type="LoadImageFromFile"),
    *load_masks,
    dict(type="RandomResize", scale=scale, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    # After Resize: mIoU is that of the image's own size.
    *load_masks,
    dict(type="PackSegInputs"),
]
train_dataloader = dict(batch_size=batch_size, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(layer_decay_rate=layer_decay_rate),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=warmup_iters),
    dict(
        type="PolyLR",
        power=1.0,
        eta_min=0.0,
        by_epoch=False,
        begin=warmup_iters,
        end=max_iters,
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))

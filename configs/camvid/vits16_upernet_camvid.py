# UPerNet on ViT-S/16, fine-tuned with layer-wise learning rates, on CamVid. One GPU.
_base_ = [
    "../_base_/models/upernet_vit.py",
    "../_base_/datasets/camvid.py",
    "../_base_/schedules/seg_layer_decay_160k.py",
    "../_base_/seg_runtime.py",
]

# The knobs. Any checkpoint of this project, or the authors' file.
checkpoint = "work_dirs/dino_vits16/epoch_800.pth"
max_iters = 4000  # of 8 images: 87 passes over the 367
warmup_iters = 100
lr = 1e-4  # of a batch of 8; higher than on ADE20K, as the run is short
layer_decay_rate = 0.9
crop_size = (320, 320)
stride = (213, 213)

model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(init_cfg=dict(type="Pretrained", checkpoint=checkpoint)),
    decode_head=dict(num_classes=11),
    auxiliary_head=dict(num_classes=11),
    test_cfg=dict(crop_size=crop_size, stride=stride),
)
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(layer_decay_rate=layer_decay_rate),
)
auto_scale_lr = dict(base_batch_size=8)
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
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 4)
default_hooks = dict(checkpoint=dict(interval=max_iters // 4))

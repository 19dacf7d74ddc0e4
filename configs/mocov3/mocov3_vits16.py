# MoCo v3 with ViT-S/16, 300 epochs, batch 4096 on 8 GPUs: 512 images each.
# Published: linear 73.2 (CONFIG.md of the authors, on 32 GPUs). Source: its command and
# main_moco.py: AdamW, rate 1.5e-4 for a batch of 256, weight decay 0.1 of all parameters, warm-up
# of 40 epochs, temperature 0.2, momentum 0.99, crops from 0.08, mixed precision; three layers in
# the projector and a last norm in the predictor (moco/builder.py).
# The patch projection stays as it was drawn, and the positions are sines and cosines. The authors'
# ViT-S has 12 heads, DINO's and DeiT's has 6: the two are not the same network.
# The negatives are all 4096 images; the networks run on 256 of the 512 at a time.
_base_ = [
    "../_base_/models/mocov3.py",
    "../_base_/views/mocov3.py",
    "../_base_/schedules/adamw_100ep.py",
    "../_base_/hooks/ema_teacher.py",
]

model = dict(
    micro_batch=256,
    backbone=dict(
        _delete_=True,
        type="MoCoV3ViT",
        arch="mocov3-small",
        img_size=224,
        patch_size=16,
        stop_grad_conv1=True,
        out_type="cls_token",
    ),
    neck=None,
    head=dict(in_channels=384, num_layers=3),
    predictor=dict(with_last_bn=True),
    loss=dict(temperature=0.2),
)
# _multi_crop_pipeline is that of the ResNet.
global_views = [dict(view, scale=(0.08, 1.0)) for view in _base_.global_views]
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(type="mmdino.MultiCropTransform", color="fused", views=global_views),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(batch_size=512, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    # mmengine's: biases and norms are decayed too.
    constructor="DefaultOptimWrapperConstructor",
    optimizer=dict(lr=1.5e-4, weight_decay=0.1),
    clip_grad=None,
    precision="auto",
)
param_scheduler = [dict(_base_.lr_schedule, warmup=40, end_lr=0.0)]
default_hooks = dict(ema_teacher=dict(momentum=0.99))
train_cfg = dict(max_epochs=300)

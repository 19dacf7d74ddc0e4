# The published ResNet-50: 800 epochs with LARS, 2 global and 6 local views.
# Published (the authors' README): k-NN 67.5, linear 75.3.
# 51 images x 10 micro-batches x 8 GPUs make the batch of 4080 (theirs on 80 GPUs, dino issue 133);
# on 80 GPUs set optim_wrapper.accumulative_counts=1, with which batch norms see the whole batch as
# theirs did. Second-hand, not verified: all else, from a copy of the authors' args.txt in another
# repository. By that copy the authors computed in float32: --amp off.
_base_ = ["dino_resnet50.py"]

model = dict(
    head=dict(out_channels=60000, use_bn=True),
    loss=dict(teacher_temp=0.07),
)
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        color="fused",
        views=[
            dict(num=1, size=224, scale=(0.14, 1.0), blur_prob=1.0),
            dict(num=1, size=224, scale=(0.14, 1.0), blur_prob=0.1, solarize_prob=0.2),
            dict(num=6, size=96, scale=(0.05, 0.14), blur_prob=0.5),
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(batch_size=51, dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(
    accumulative_counts=10,
    optimizer=dict(_delete_=True, type="LARS", lr=0.3, momentum=0.9, weight_decay=1e-6),
    clip_grad=None,
)
param_scheduler = [dict(_base_.lr_schedule, end_lr=0.0048)]
default_hooks = dict(teacher_temp_warmup=dict(start=0.04, epochs=50))
train_cfg = dict(max_epochs=800)

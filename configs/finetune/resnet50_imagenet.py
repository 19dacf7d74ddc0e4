# Fine-tuning of ResNet-50 on ImageNet. DeiT's augmentation and AdamW are for transformers; this is
# SGD with crop, flip and label smoothing. No published accuracy.
_base_ = [
    "../_base_/models/finetune_resnet50.py",
    "../_base_/datasets/imagenet_cls.py",
    "../_base_/schedules/finetune_300ep.py",
    "../_base_/eval_runtime.py",
]
work_dir = "work_dirs/finetune_resnet50_imagenet"

checkpoint = "work_dirs/dino_resnet50/epoch_100.pth"

model = dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint)))
optim_wrapper = dict(
    _delete_=True,
    type="mmdino.StepOptimWrapper",
    constructor="mmdino.DecayGroupsConstructor",
    # lr is for a batch of 256, a fifth of that of training from scratch.
    optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4),
    precision="auto",
)
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(max_epochs=100)

# Fine-tuning of ViT-S/16 on ImageNet as in DeiT: 8 GPUs x 128 images, in mixed precision.
_base_ = [
    "../_base_/models/finetune_vit.py",
    "../_base_/datasets/imagenet_deit.py",
    "../_base_/schedules/finetune_300ep.py",
    "../_base_/eval_runtime.py",
]
work_dir = "work_dirs/finetune_vits16_imagenet"

checkpoint = "work_dirs/dino_vits16/epoch_800.pth"

model = dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint)))
optim_wrapper = dict(precision="auto")

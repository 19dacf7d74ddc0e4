# Fine-tuning of the student of DINO ViT-B/16 on ImageNet with the authors' recipe, batch 2048: 128
# images x 2 micro-batches x 8 GPUs (the authors: 16 GPUs). Published: 83.8 (their README).
# The augmentation is DeiT's, as theirs; their colour jitter has no effect beside RandAugment.
# Images are normalised alike in training and validation; the authors' code has CLIP's mean and
# deviation in validation.
_base_ = [
    "../_base_/models/finetune_distilled_vitb16.py",
    "../_base_/datasets/imagenet_deit.py",
    "../_base_/schedules/finetune_distilled_100ep.py",
    "../_base_/eval_runtime.py",
]
work_dir = "work_dirs/finetune_distill_dino_vitb16_imagenet"

checkpoint = "work_dirs/distill_dino_vitb16_300ep/epoch_300.pth"

model = dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint)))
optim_wrapper = dict(precision="auto", accumulative_counts=2)

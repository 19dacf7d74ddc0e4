# Fine-tuning of ViT-B/16 on ImageNet as in DeiT. Published, as quoted in
# facebookresearch/dino#31: 82.8.
# 64 images x 2 micro-batches x 8 GPUs make the batch of 1024.
_base_ = ["vits16_imagenet.py"]
work_dir = "work_dirs/finetune_vitb16_imagenet"

checkpoint = "work_dirs/dino_vitb16/epoch_400.pth"

model = dict(
    backbone=dict(arch="deit-base", init_cfg=dict(checkpoint=checkpoint)),
    head=dict(in_channels=768),
)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(accumulative_counts=2)

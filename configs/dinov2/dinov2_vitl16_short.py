# The authors' short run on ImageNet-1k: ViT-L/16, centred targets, one head for class and patches,
# 125,000 iterations with a batch of 2048 (theirs 32 GPUs x 64 images), which here are 200 passes.
# Source: configs/train/vitl16_short.yaml and ssl_default_config.yaml of the authors. Published: k-NN
# 81.6, linear 82.9 (their README).
#   tools/dist_train.sh configs/dinov2/dinov2_vitl16_short.py 8
# With fewer than 32 GPUs raise train_dataloader.batch_size to keep the batch, and set
# model.micro_batch to what fits into memory: KoLeo compares the images of a rank.
_base_ = [
    "../_base_/models/dinov2_vit.py",
    "../_base_/views/dinov2.py",
    "../_base_/schedules/adamw_dinov2.py",
]

model = dict(
    backbone=dict(arch="vit-l", img_size=224, patch_size=16),
    head=dict(in_channels=1024),
)
train_dataloader = dict(batch_size=64)

# ViT-S/16 by DINOv3's recipe for ImageNet-1k. Nobody has published this network trained from
# scratch: the authors' S is distilled from 7B. Stochastic depth of 0.1 is DINO's for ViT-S.
# 8 GPUs x 256 images, of which the backbone sees 64 at a time.
#   tools/dist_train.sh configs/dinov3/dinov3_vits16.py 8
_base_ = ["dinov3_vitl16.py"]

width = 384
model = dict(
    backbone=dict(arch="vit-s", drop_path_rate=0.1),
    head=dict(in_channels=width),
    patch_head=dict(in_channels=width),
    micro_batch=64,
)
train_dataloader = dict(batch_size=256)

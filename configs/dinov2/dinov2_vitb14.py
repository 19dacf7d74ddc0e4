# ViT-B/14 with 4 registers: dinov2_vits14.py with a wider network and 32 GPUs x 64 images.
_base_ = ["dinov2_vits14.py"]

head = dict(in_channels=768)
model = dict(
    backbone=dict(arch="vit-b", drop_path_rate=0.3),
    head=head,
    patch_head=head,
    micro_batch=None,
)
train_dataloader = dict(batch_size=64)

# Linear evaluation of DINOv2's ViT-S/14 on ImageNet, from the authors' file: 8 GPUs x 128 images,
# 10 epochs, a cosine by iteration. Published: 81.1; with four registers 80.9.
# The authors train classifiers on four features in one pass and report the best; this is the
# widest, the class tokens of the last four blocks with the mean patch. The last block without it:
# --cfg-options model.backbone.backbone.out_indices=[11] model.neck.mean_patch=False
# model.head.in_channels=384, and in_channels=768 with it. The file with registers needs, of
# model.backbone.backbone, num_registers=4 pos_embed_offset=0 pos_embed_antialias=True.
_base_ = ["vits16_imagenet.py"]
work_dir = "work_dirs/linear_dinov2_vits14_imagenet"

checkpoint = "dinov2_vits14_pretrain.pth"

# For a batch of 256 (dinov2/eval/linear.py).
lrs = (1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1)

model = dict(
    backbone=dict(
        backbone=dict(
            arch="vit-s",
            img_size=518,
            patch_size=14,
            layer_scale_init_value=1e-5,
            mask_token=True,
            init_cfg=dict(checkpoint=checkpoint),
        )
    ),
    neck=dict(mean_patch=True),
    head=dict(in_channels=5 * 384, lrs=lrs),
)
param_scheduler = [
    dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=True, convert_to_iter_based=True)
]
train_cfg = dict(max_epochs=10, val_interval=1)

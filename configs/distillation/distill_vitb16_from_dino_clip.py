# Two teachers at once, DINO's and CLIP's ViT-B/16, into one ViT-B/16 for 300 epochs, batch 2048.
# Each has a projector. Whitened targets have one scale whatever the teacher, so that equal weights
# balance the losses. Our own recipe, after distill_dino_vitb16_300ep.py; no figures are published.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/feature_distillation_clip_vitb16.py",
    "../_base_/views/feature_distillation.py",
    "../_base_/schedules/adamw_feature_distillation.py",
]

dino_checkpoint = "dino_vitbase16_pretrain.pth"
clip_checkpoint = "ViT-B-16.pt"

dino = dict(
    type="mmdino.VisionTransformer",
    arch="vit-b",
    img_size=224,
    patch_size=16,
    out_type="features",
)
model = dict(
    backbone=dict(drop_path_rate=0.3),
    teacher=None,
    teachers=[
        dict(backbone=dino, checkpoint=dino_checkpoint, weight=0.5),
        dict(_base_.clip_teacher, checkpoint=clip_checkpoint, weight=0.5),
    ],
)
optim_wrapper = dict(precision="auto", accumulative_counts=2)

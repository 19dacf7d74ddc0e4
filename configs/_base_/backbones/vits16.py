# ViT-S/16 of the configs for ImageNet. mmpretrain's name for DINO's ViT-S is "deit-small".
vit = dict(
    type="mmdino.VisionTransformer",
    arch="deit-small",
    img_size=224,
    patch_size=16,
    drop_path_rate=0.1,
)

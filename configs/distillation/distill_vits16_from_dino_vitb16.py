# DINO's ViT-B/16 into a ViT-S/16, a quarter of its size: the recipe of distill_dino_vitb16_300ep.py
# with less stochastic depth, our own choice. No figures are published.
_base_ = ["distill_dino_vitb16_300ep.py"]

model = dict(
    backbone=dict(
        arch="vit-s",
        drop_path_rate=0.1,
        position_encoding=dict(num_heads=6),
    )
)

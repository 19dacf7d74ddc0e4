# What DINOv3's recipe for ImageNet-1k changes in DINOv2's model, with ViT-S/16: rotary positions,
# Sinkhorn-Knopp targets, a head each for classes and patches with 65536 plain prototypes, and
# class tokens that start from 0.02 (configs/train/vitl_im1k_lin834.yaml of the authors). The
# published models have 4 registers, keys without bias (key_bias=False), rescaled coordinates
# (position_encoding.rescale=2) and a layer-norm eps of 1e-5 too; this recipe has none of them.
_base_ = ["dinov2_vit.py"]

num_prototypes = 65536
head = dict(
    type="mmdino.DINOHead",
    in_channels=384,
    out_channels=num_prototypes,
    norm_last_layer=False,
    weight_norm=False,
)
model = dict(
    backbone=dict(
        img_size=224,
        patch_size=16,
        token_std=0.02,
        learned_positions=False,
        position_encoding=dict(type="mmdino.RotaryPositions", head_dims=64),
    ),
    head=head,
    patch_head=head,
    loss=dict(targets="sinkhorn_knopp"),
    ibot=dict(targets="sinkhorn_knopp"),
)

# What DINOv3's recipe for ImageNet-1k changes in DINOv2's model, with ViT-S/16: rotary positions,
# Sinkhorn-Knopp targets, a head each for classes and patches with 65536 plain prototypes, keys
# without bias, and class tokens that start from 0.02. The published models have 4 registers and a
# layer-norm eps of 1e-5 too; the recipe for ImageNet-1k has neither.
# Rescaled coordinates are those of the published models; whether the recipe has them is not known
# to us. position_encoding.rescale=None leaves them out.
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
        key_bias=False,
        learned_positions=False,
        position_encoding=dict(type="mmdino.RotaryPositions", head_dims=64, rescale=2),
    ),
    head=head,
    patch_head=head,
    loss=dict(targets="sinkhorn_knopp"),
    ibot=dict(targets="sinkhorn_knopp"),
)

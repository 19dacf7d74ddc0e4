# The ViT-B/16 of feature_distillation_vitb16.py, fine-tuned as by its authors: each block has its
# own copy of the shared table, and the classifier is on the mean of the patches, normalised after
# the mean in place of the final norm.
_base_ = ["finetune_vit.py"]

model = dict(
    backbone=dict(
        arch="vit-b",
        out_type="features",
        final_norm=False,
        key_bias=False,
        learned_positions=False,
        layer_scale_init_value=0.1,
        drop_path_rate=0.2,
        position_encoding=dict(type="mmdino.RelativePositionBias", num_heads=12, grid=14),
        position_encoding_per_block=True,
    ),
    neck=dict(
        type="mmdino.TokenFeature",
        mean_patch=True,
        class_token=False,
        norm_cfg=dict(type="LN", eps=1e-6),
        in_channels=768,
    ),
    head=dict(in_channels=768),
)

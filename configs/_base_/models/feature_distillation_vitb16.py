# The student ViT-B/16 of feature distillation (Wei et al. 2022, arXiv 2205.14141) and the teacher
# DINO ViT-B/16: one table of relative positions for all blocks and no other positions, no bias on
# keys, LayerScale from 0.1 and BEiT's start values.
student = dict(
    type="mmdino.VisionTransformer",
    arch="vit-b",
    img_size=224,
    patch_size=16,
    out_type="features",
    key_bias=False,
    learned_positions=False,
    layer_scale_init_value=0.1,
    weight_init="beit",
    drop_path_rate=0.3,
    position_encoding=dict(type="mmdino.RelativePositionBias", num_heads=12, grid=14),
)
model = dict(
    type="mmdino.FeatureDistillation",
    backbone=student,
    teacher=dict(
        backbone=dict(
            type="mmdino.VisionTransformer",
            arch="vit-b",
            img_size=224,
            patch_size=16,
            out_type="features",
        ),
        target="tokens",
        whiten="layer_norm",
    ),
    loss=dict(type="mmdino.FeatureLoss", kind="smooth_l1", beta=2.0),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

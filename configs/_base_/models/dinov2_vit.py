# DINOv2 with ViT-S/14: centred targets and one head, as the authors' short recipe for ImageNet-1k
# (vitl16_short.yaml), in which the networks are larger.
model = dict(
    type="mmdino.DINOv2",
    backbone=dict(
        type="mmdino.VisionTransformer",
        arch="vit-s",
        img_size=518,
        patch_size=14,
        out_type="features",
        mask_token=True,
        token_std=1e-6,
        layer_scale_init_value=1e-5,
        drop_path_rate=0.3,
        drop_path_uniform=True,
        drop_path_rows=True,
    ),
    # Without a norm of 1 for the prototypes: the authors train their length.
    head=dict(type="mmdino.DINOHead", in_channels=384, out_channels=65536, norm_last_layer=False),
    loss=dict(type="mmdino.DINOLoss", student_temp=0.1, teacher_temp=0.07),
    ibot=dict(type="mmdino.IBOTLoss", student_temp=0.1, teacher_temp=0.07),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

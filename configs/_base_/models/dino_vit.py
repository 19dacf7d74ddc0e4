# ViT-S/16 with the paper's head. mmpretrain's name for DINO's ViT-S is "deit-small".
model = dict(
    type="mmdino.DINO",
    backbone=dict(
        type="mmdino.VisionTransformer",
        arch="deit-small",
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
    ),
    head=dict(type="mmdino.DINOHead", in_channels=384, out_channels=65536, norm_last_layer=True),
    loss=dict(type="mmdino.DINOLoss", student_temp=0.1, teacher_temp=0.04),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

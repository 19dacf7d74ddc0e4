model = dict(
    type="mmdino.DINO",
    backbone=dict(
        type="mmdino.ResNet",
        depth=50,
        num_stages=4,
        out_indices=(3,),
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="mmdino.DINOHead", in_channels=2048, out_channels=65536, norm_last_layer=True),
    loss=dict(type="mmdino.DINOLoss", student_temp=0.1, teacher_temp=0.04),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
    sync_bn=True,
)

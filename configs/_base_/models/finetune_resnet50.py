# ResNet-50 and a linear classifier on its pooled output, trained together.
model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        num_classes=1000, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
    ),
    backbone=dict(
        type="mmdino.ResNet",
        depth=50,
        out_indices=(3,),
        # The config names the checkpoint; None trains from scratch.
        init_cfg=dict(type="Pretrained"),
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=2048,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        init_cfg=dict(type="TruncNormal", layer="Linear", std=2e-5),
    ),
)

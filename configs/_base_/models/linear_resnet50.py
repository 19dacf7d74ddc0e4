# ResNet-50, frozen, and linear classifiers on its pooled output.
model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
    ),
    backbone=dict(
        type="mmdino.FrozenBackbone",
        backbone=dict(
            type="mmdino.ResNet",
            depth=50,
            out_indices=(3,),
            # The config names the checkpoint; None evaluates the untrained network.
            init_cfg=dict(type="Pretrained"),
        ),
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="mmdino.LinearProbeHead", in_channels=2048, num_classes=1000),
)

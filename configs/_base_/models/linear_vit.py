# ViT-S/16, frozen, and linear classifiers on the class tokens of its last four blocks.
model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
    ),
    backbone=dict(
        type="mmdino.FrozenBackbone",
        backbone=dict(
            type="mmdino.VisionTransformer",
            arch="deit-small",
            img_size=224,
            patch_size=16,
            out_type="features",
            out_indices=[8, 9, 10, 11],
            norm_outputs=True,
            # The config names the checkpoint; None evaluates the untrained network.
            init_cfg=dict(type="Pretrained"),
        ),
    ),
    neck=dict(type="mmdino.TokenFeature"),
    # Without lrs: a range around the authors' 0.001.
    head=dict(type="mmdino.LinearProbeHead", in_channels=4 * 384, num_classes=1000),
)

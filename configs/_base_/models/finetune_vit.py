# ViT-S/16 and a linear classifier on its class token, trained together.
model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        num_classes=1000,  # of mixup's labels
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    backbone=dict(
        type="mmdino.VisionTransformer",
        arch="deit-small",
        img_size=224,
        patch_size=16,
        drop_path_rate=0.1,
        # The config names the checkpoint; None trains from scratch.
        init_cfg=dict(type="Pretrained"),
    ),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=384,
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        # A thousandth of the usual 0.02: a random classifier of full size sends gradients into the
        # pretrained layers that undo what they know.
        init_cfg=dict(type="TruncNormal", layer="Linear", std=2e-5),
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)

# A linear classifier of frozen patch tokens: those of the last block after the final norm, batch
# norm without parameters, one weight vector a class, logits enlarged bilinearly. ViT-S/16.
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=(512, 512),
        pad_val=0,
        seg_pad_val=255,
        # The side of a patch, which images are padded to a multiple of.
        test_cfg=dict(size_divisor=16),
    ),
    backbone=dict(
        type="mmdino.FrozenBackbone",
        backbone=dict(
            type="mmdino.VisionTransformer",
            arch="deit-small",
            img_size=224,
            patch_size=16,
            out_type="featmap",
            out_indices=[11],
        ),
    ),
    neck=dict(type="mmdino.BatchNormNeck", in_channels=[384]),
    decode_head=dict(
        type="FCNHead",
        num_convs=0,
        concat_input=False,
        in_channels=384,
        channels=384,
        in_index=0,
        dropout_ratio=0,
        num_classes=150,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True),
    ),
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341)),
)

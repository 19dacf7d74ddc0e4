# MoCo v3's model with ResNet-50. Sizes: moco/builder.py of the authors: a projector of 4096 and 256
# without biases, batch norm after each layer, the last without scale and shift; a predictor of the
# same sizes without the last norm, which ViT has.
_base_ = ["../backbones/resnet50.py"]

mlp = dict(
    type="NonLinearNeck",
    in_channels=2048,
    hid_channels=4096,
    out_channels=256,
    with_last_bn_affine=False,
    with_avg_pool=False,
    norm_cfg=dict(type="BN1d"),
)
model = dict(
    type="mmdino.StudentTeacher",
    teacher="ema",
    separate_views=True,
    backbone=dict(**_base_.resnet50, zero_init_residual=True),
    neck=dict(type="GlobalAveragePooling"),
    head=mlp,
    predictor=dict(mlp, in_channels=256, with_last_bn=False),
    loss=dict(type="mmdino.MoCoV3Loss", temperature=1.0),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

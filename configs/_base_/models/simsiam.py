# SimSiam's model with ResNet-50. Sizes: simsiam/builder.py of the authors (Chen and He 2021,
# section 3): a projector of three layers of 2048 with batch norm after each, the last without scale
# and shift; a predictor with a bottleneck of 512 and batch norm inside only.
_base_ = ["../backbones/resnet50.py"]

mlp = dict(
    type="NonLinearNeck",
    in_channels=2048,
    hid_channels=2048,
    out_channels=2048,
    num_layers=3,
    with_last_bn_affine=False,
    with_avg_pool=False,
    norm_cfg=dict(type="BN1d"),
)
bottleneck = dict(
    type="NonLinearNeck",
    in_channels=2048,
    hid_channels=512,
    out_channels=2048,
    with_last_bn=False,
    with_last_bias=True,
    with_avg_pool=False,
    norm_cfg=dict(type="BN1d"),
)
model = dict(
    type="mmdino.StudentTeacher",
    teacher="student",
    separate_views=True,
    backbone=dict(**_base_.resnet50, zero_init_residual=True),
    neck=dict(type="GlobalAveragePooling"),
    head=mlp,
    predictor=bottleneck,
    loss=dict(type="mmdino.SimSiamLoss"),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

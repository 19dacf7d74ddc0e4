# BYOL's model with ResNet-50. Sizes: Grill et al. 2020, section 3.3 and byol/configs/byol.py of the
# authors: projector and predictor of 4096 and 256, batch norm and ReLU between, no norm at the end.
_base_ = ["../backbones/resnet50.py"]

mlp = dict(
    type="NonLinearNeck",
    in_channels=2048,
    hid_channels=4096,
    out_channels=256,
    with_bias=True,
    with_last_bn=False,
    with_last_bias=True,
    with_avg_pool=False,
    norm_cfg=dict(type="BN1d"),
)
model = dict(
    type="mmdino.StudentTeacher",
    teacher="ema",
    separate_views=True,
    backbone=_base_.resnet50,
    neck=dict(type="GlobalAveragePooling"),
    head=mlp,
    predictor=dict(mlp, in_channels=256),
    loss=dict(type="mmdino.BYOLLoss"),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

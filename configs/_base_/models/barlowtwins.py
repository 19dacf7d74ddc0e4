# Barlow Twins' model with ResNet-50. Sizes: main.py of the authors: a projector of three layers of
# 8192 without biases, batch norm and ReLU between. The norm of the outputs, without scale and
# shift, is in the loss.
_base_ = ["../backbones/resnet50.py"]

mlp = dict(
    type="NonLinearNeck",
    in_channels=2048,
    hid_channels=8192,
    out_channels=8192,
    num_layers=3,
    with_last_bn=False,
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
    loss=dict(type="mmdino.BarlowTwinsLoss"),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

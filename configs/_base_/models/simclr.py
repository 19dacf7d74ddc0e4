# SimCLR's model with ResNet-50. Sizes: Chen et al. 2020, section 2.2, and model_util.py of the
# authors: a projector of 2048 and 128 with batch norm after both layers. (The authors' last norm
# has no shift.)
_base_ = ["../backbones/resnet50.py"]

mlp = dict(
    type="NonLinearNeck",
    in_channels=2048,
    hid_channels=2048,
    out_channels=128,
    with_avg_pool=False,
    norm_cfg=dict(type="BN1d"),
)
model = dict(
    type="mmdino.StudentTeacher",
    teacher="student",
    backbone=dict(**_base_.resnet50, zero_init_residual=True),
    neck=dict(type="GlobalAveragePooling"),
    head=mlp,
    loss=dict(type="mmdino.SimCLRLoss", temperature=0.1),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

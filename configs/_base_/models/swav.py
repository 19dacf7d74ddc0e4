# SwAV's model with ResNet-50. Sizes: src/resnet50.py and scripts/*.sh of the authors: a projector
# of 2048 and 128 with biases, batch norm and ReLU between, and 3000 prototypes, which are in the
# loss.
_base_ = ["../backbones/resnet50.py"]

mlp = dict(
    type="NonLinearNeck",
    in_channels=2048,
    hid_channels=2048,
    out_channels=128,
    with_bias=True,
    with_last_bn=False,
    with_last_bias=True,
    with_avg_pool=False,
    norm_cfg=dict(type="BN1d"),
)
model = dict(
    type="mmdino.StudentTeacher",
    teacher="student",
    backbone=_base_.resnet50,
    neck=dict(type="GlobalAveragePooling"),
    head=mlp,
    loss=dict(
        type="mmdino.SwAVLoss",
        in_channels=128,
        num_prototypes=3000,
        temperature=0.1,
        epsilon=0.05,
        sinkhorn_iterations=3,
    ),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)

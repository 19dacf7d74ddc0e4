# Feature distillation on CIFAR-10 into another family: the tiny ViT teaches a ResNet-18 of width
# 32. The places of its map, 4 x 4, predict the patches, 8 x 8, which are resized; their mean
# predicts the class token. Commands: distill_vitt4_cifar10.py.
_base_ = ["distill_vitt4_cifar10.py"]

model = dict(
    # That of _base_/backbones/resnet18_cifar10.py, half as wide.
    backbone=dict(
        _delete_=True,
        type="ResNet_CIFAR",
        depth=18,
        num_stages=4,
        out_indices=(3,),
        base_channels=32,
        stem_channels=32,
        zero_init_residual=False,
    ),
    neck=dict(type="GlobalAveragePooling"),
)
optim_wrapper = dict(paramwise_cfg=dict(not_decayed=[]))  # there is no class token

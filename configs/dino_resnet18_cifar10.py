# DINO with ResNet-18 on CIFAR-10; batch, views and length are those of all methods.
# The head is that of dino_vitt4_cifar10.py, with batch norm as in lightly's benchmark.
_base_ = [
    "_base_/runs/resnet18_cifar10.py",
    "_base_/models/dino_resnet50.py",
    "_base_/hooks/dino.py",
]

momentum = 0.99  # of the teacher; closer to 1 for longer runs
num_prototypes = 1024  # more than kinds of objects; the paper's 65536 is for ImageNet

model = dict(
    backbone=dict(_delete_=True, **_base_.resnet18),
    head=dict(
        in_channels=_base_.width,
        out_channels=num_prototypes,
        hidden_channels=512,
        bottleneck_channels=128,
        use_bn=True,
    ),
)
default_hooks = dict(ema_teacher=dict(momentum=momentum))

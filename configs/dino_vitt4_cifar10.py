# A tiny ViT with patches of 4 pixels on CIFAR-10, images of 32 pixels, for one GPU or a CPU.
# The images lie in data/cifar10/{train,test}/<class>/; any CIFAR-10 written as image files will do.
# For a CPU: dino_vitt4_cifar10_cpu.py.
_base_ = [
    "_base_/runs/vitt4_cifar10.py",
    "_base_/models/dino_vit.py",
    "_base_/hooks/dino.py",
]

# What to change first; length, rate, batch, network and views are those of all methods:
# _base_/runs/vitt4_cifar10.py.
momentum = 0.99  # of the teacher; closer to 1 for longer runs
num_prototypes = 1024  # more than kinds of objects; the paper's 65536 is for ImageNet

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    head=dict(
        in_channels=_base_.width,
        out_channels=num_prototypes,
        hidden_channels=512,
        bottleneck_channels=128,
    ),
)
default_hooks = dict(ema_teacher=dict(momentum=momentum))

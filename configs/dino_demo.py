# A few minutes on two CPU cores, no data needed: the images are drawn. The log ends with the k-NN
# accuracy of the trained teacher and of the untrained one, and the work dir has a figure.
_base_ = [
    "_base_/runs/demo.py",
    "_base_/models/dino_vit.py",
    "_base_/hooks/dino.py",
]

# A network this small on so few images needs a fast teacher, a sharp target and few prototypes. For
# your own images, start from dino_folder.py instead. Length, rate, network and images are those of
# all demos: _base_/runs/demo.py.
momentum = 0.95
num_prototypes = 256

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    head=dict(
        in_channels=_base_.width,
        out_channels=num_prototypes,
        hidden_channels=256,
        bottleneck_channels=128,
        use_bn=True,
    ),
    loss=dict(teacher_temp=0.03, center_momentum=0.8),
    # DINOv2's. Without it results are lower and depend more on the seed: docs/results.md.
    koleo_weight=0.1,
)
default_hooks = dict(
    ema_teacher=dict(momentum=momentum),
    last_layer_freeze=dict(epochs=0),
)

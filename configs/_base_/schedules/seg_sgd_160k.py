# Fine-tuning of a ResNet over 160k iterations, mmsegmentation's default for a batch of 16.
_base_ = ["seg_160k.py"]

optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0005),
)
param_scheduler = [
    dict(type="PolyLR", power=0.9, eta_min=1e-4, by_epoch=False, begin=0),
]

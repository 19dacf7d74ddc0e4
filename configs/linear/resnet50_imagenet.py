# Linear evaluation of ResNet-50 on ImageNet. Published for dino_resnet50_800ep.py: 75.3.
_base_ = [
    "../_base_/models/linear_resnet50.py",
    "../_base_/datasets/imagenet_cls.py",
    "../_base_/schedules/linear_100ep.py",
    "../_base_/eval_runtime.py",
]
work_dir = "work_dirs/linear_resnet50_imagenet"

checkpoint = "work_dirs/dino_resnet50/epoch_100.pth"

model = dict(backbone=dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint))))

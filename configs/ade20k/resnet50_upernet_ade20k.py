# UPerNet on a ResNet-50, fine-tuned. 8 GPUs of 2 images.
_base_ = [
    "../_base_/models/upernet_resnet50.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/seg_sgd_160k.py",
    "../_base_/seg_runtime.py",
]

# The knobs. Any checkpoint of this project, or the authors' file.
checkpoint = "work_dirs/dino_resnet50/epoch_100.pth"

model = dict(backbone=dict(init_cfg=dict(type="Pretrained", checkpoint=checkpoint)))

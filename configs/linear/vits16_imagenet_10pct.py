# Linear evaluation of ViT-S/16 with the labels of 10 % of ImageNet.
_base_ = ["vits16_imagenet.py"]
work_dir = "work_dirs/linear_vits16_imagenet_10pct"

train_dataloader = dict(dataset=dict(fraction=0.1, fraction_seed=0))

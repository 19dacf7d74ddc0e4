# Fine-tuning of ViT-S/16 with the labels of 10 % of ImageNet: 130 images a class, 8 GPUs x 128.
_base_ = ["vits16_imagenet.py"]
work_dir = "work_dirs/finetune_vits16_imagenet_10pct"

train_dataloader = dict(dataset=dict(fraction=0.1, fraction_seed=0))
train_cfg = dict(max_epochs=100, val_interval=10)

# Fine-tuning of ViT-S/16 with the labels of 1 % of ImageNet: 13 images a class, 8 GPUs x 128.
# Mixed images and labels need many epochs to pay; with so few labels they are left out.
_base_ = ["vits16_imagenet.py"]
work_dir = "work_dirs/finetune_vits16_imagenet_1pct"

model = dict(train_cfg=None)
train_dataloader = dict(dataset=dict(fraction=0.01, fraction_seed=0))
train_cfg = dict(max_epochs=100, val_interval=10)

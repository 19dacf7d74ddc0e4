# Fine-tuning of dino_vitt4_cifar10.py with the labels of 10 % of CIFAR-10: 500 images a class.
_base_ = ["vitt4_cifar10.py"]
work_dir = "work_dirs/finetune_vitt4_cifar10_10pct"

model = dict(train_cfg=None)
train_dataloader = dict(dataset=dict(fraction=0.1, fraction_seed=0))
train_cfg = dict(val_interval=50)

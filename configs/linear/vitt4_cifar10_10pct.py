# Linear evaluation of dino_vitt4_cifar10.py with the labels of 10 % of CIFAR-10, 500 a class.
_base_ = ["vitt4_cifar10.py"]
work_dir = "work_dirs/linear_vitt4_cifar10_10pct"

train_dataloader = dict(dataset=dict(fraction=0.1, fraction_seed=0))
train_cfg = dict(max_epochs=50, val_interval=50)

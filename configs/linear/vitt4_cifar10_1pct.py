# Linear evaluation of dino_vitt4_cifar10.py with the labels of 1 % of CIFAR-10, 50 a class.
_base_ = ["vitt4_cifar10.py"]
work_dir = "work_dirs/linear_vitt4_cifar10_1pct"

train_dataloader = dict(batch_size=64, dataset=dict(fraction=0.01, fraction_seed=0))
# So few images make short epochs.
train_cfg = dict(max_epochs=100, val_interval=100)

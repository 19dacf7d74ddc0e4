# Fine-tuning of dino_vitt4_cifar10.py with the labels of 1 % of CIFAR-10: 50 images a class.
# Mixed images and labels need many epochs to pay; with so few labels they are left out.
_base_ = ["vitt4_cifar10.py"]
work_dir = "work_dirs/finetune_vitt4_cifar10_1pct"

model = dict(train_cfg=None)
train_dataloader = dict(batch_size=64, dataset=dict(fraction=0.01, fraction_seed=0))
train_cfg = dict(max_epochs=100, val_interval=100)

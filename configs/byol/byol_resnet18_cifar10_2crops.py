# BYOL on CIFAR-10 without local views, else byol_resnet18_cifar10.py; the pipeline does the same
# for the other methods.
_base_ = ["byol_resnet18_cifar10.py"]

train_dataloader = dict(dataset=dict(pipeline=_base_._two_crop_pipeline))

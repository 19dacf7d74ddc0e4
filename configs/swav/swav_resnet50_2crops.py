# SwAV with ResNet-50 without local views, 400 epochs, else swav_resnet50.py.
# Published: linear 70.1 (README of the authors). Source: scripts/swav_400ep_2x224_pretrain.sh,
# whose crops begin at 0.08.
_base_ = ["swav_resnet50.py"]

train_dataloader = dict(dataset=dict(pipeline=_base_._two_crop_pipeline))
train_cfg = dict(max_epochs=400)

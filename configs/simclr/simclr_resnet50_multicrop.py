# SimCLR with ResNet-50 and 6 local views of 96 pixels, else simclr_resnet50.py. No published
# recipe.
_base_ = ["simclr_resnet50.py"]

train_dataloader = dict(dataset=dict(pipeline=_base_._multi_crop_pipeline))

# BYOL with ViT-S/16 and local views, else byol_vits16.py. In DINO's paper local views make BYOL
# worse (k-NN 59.8, linear 64.8 with 10 of them, second-hand).
_base_ = ["byol_vits16.py"]

train_dataloader = dict(dataset=dict(pipeline=_base_._multi_crop_pipeline))

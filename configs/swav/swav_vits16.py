# SwAV with ViT-S/16, 300 epochs, 2 global and 6 local views, batch 1024 on 8 GPUs: 128 images each.
# SwAV's authors have no ViT. DINO's paper compares with it (Caron et al. 2021, table 2 and
# appendix): after 300 epochs k-NN 60.5, linear 68.5 without local views and 64.7, 71.8 with 10 of
# them, second-hand; of its run, network, optimiser and schedule are taken to be those of
# dino_vits16_300ep.py. 1251 steps are an epoch.
_base_ = [
    "../_base_/backbones/vits16.py",
    "../_base_/models/swav.py",
    "../_base_/views/swav.py",
    "../_base_/schedules/adamw_100ep.py",
    "../_base_/hooks/swav.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    neck=None,
    head=dict(in_channels=384),
)
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(precision="auto")
default_hooks = dict(last_layer_freeze=dict(steps=1251))
train_cfg = dict(max_epochs=300)

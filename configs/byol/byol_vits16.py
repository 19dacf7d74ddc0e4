# BYOL with ViT-S/16, 300 epochs, batch 1024 on 8 GPUs: 128 images each.
# BYOL's authors have no ViT. DINO's paper compares with it (Caron et al. 2021, table 2 and
# appendix), k-NN 66.6, linear 71.4 after 300 epochs with these views, second-hand; of its run,
# network, optimiser and schedule are taken to be those of dino_vits16_300ep.py, and the momentum
# BYOL's for 300 epochs.
_base_ = [
    "../_base_/backbones/vits16.py",
    "../_base_/models/byol.py",
    "../_base_/views/byol.py",
    "../_base_/schedules/adamw_100ep.py",
    "../_base_/hooks/ema_teacher.py",
]

model = dict(
    backbone=dict(_delete_=True, **_base_.vit),
    neck=None,
    head=dict(in_channels=384),
)
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(precision="auto")
default_hooks = dict(ema_teacher=dict(momentum=0.99))
train_cfg = dict(max_epochs=300)

# SwAV with ResNet-50, 800 epochs, 2 global and 6 local views, batch 4096 on 8 GPUs: 512 images
# each. Published: linear 75.3 (README of the authors, on 64 GPUs). Source:
# scripts/swav_800ep_pretrain.sh and main_swav.py: LARS, rate 4.8, weight decay 1e-6, warm-up of 10
# epochs (theirs begins at 0.3, here at 0), a cosine to 0.0048, prototypes frozen for 313 steps, no
# queue, mixed precision. The rates are for this batch: the authors do not scale them. Their LARC
# adapts the rates of biases and norms too, and decays them.
# Codes are assigned over all 4096 images; the networks run on 64 of the 512 at a time, so that
# batch norms see 512 images, as in the authors' groups of 8 GPUs x 64.
_base_ = [
    "../_base_/models/swav.py",
    "../_base_/views/swav.py",
    "../_base_/schedules/lars_100ep.py",
    "../_base_/hooks/swav.py",
]

model = dict(micro_batch=64)
train_dataloader = dict(batch_size=512)
optim_wrapper = dict(
    # mmengine's: one group of all parameters.
    constructor="DefaultOptimWrapperConstructor",
    optimizer=dict(lr=4.8),
    precision="auto",
)
auto_scale_lr = dict(enable=False)
param_scheduler = [dict(_base_.lr_schedule, end_lr=0.0048)]
train_cfg = dict(max_epochs=800)

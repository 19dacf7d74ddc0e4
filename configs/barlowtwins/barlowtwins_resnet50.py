# Barlow Twins with ResNet-50, 1000 epochs, batch 2048 on 8 GPUs: 256 images each.
# Published: linear 73.3 (README of the authors; 73.2 in Zbontar et al. 2021, second-hand), on 16
# V100. Source: main.py of the authors: LARS, rate 0.2 for a batch of 256 and 0.0048 for biases and
# norms, a factor of 0.024, weight decay 1e-6, warm-up of 10 epochs, a cosine to 0.001 of the peak,
# lambda 0.0051, float16 or bfloat16. (An earlier version has the same run with a loss of 0.024: one
# or the other, not both. The paper's weight decay is 1.5e-6, second-hand.) Where 256 images do not
# fit, model.micro_batch=128: the loss sees them all, batch norms half of them.
_base_ = [
    "../_base_/models/barlowtwins.py",
    "../_base_/views/byol.py",
    "../_base_/schedules/lars_100ep.py",
    "../_base_/default_runtime.py",
]

model = dict(loss=dict(lambd=0.0051))
train_dataloader = dict(batch_size=256)
optim_wrapper = dict(
    optimizer=dict(lr=0.2),
    paramwise_cfg=dict(one_dim_lr_mult=0.024),
    precision="auto",
)
param_scheduler = [dict(_base_.lr_schedule, end_lr=None, end_ratio=0.001)]
train_cfg = dict(max_epochs=1000)

# SimSiam with ResNet-50, 100 epochs, batch 512 on 8 GPUs: 64 images each.
# Published: linear 68.1 (README of the authors; 71.3 after 800 epochs in Chen and He 2021,
# second-hand). Source: the defaults of main_simsiam.py and the README's --fix-pred-lr: SGD, weight
# decay 1e-4, a cosine without warm-up, the predictor's rate constant, float32.
# The rate is 0.05 for a batch of 256, so 0.1 here, for the predictor too. The authors decay biases
# and norms too; here they are not decayed.
_base_ = [
    "../_base_/models/simsiam.py",
    "../_base_/views/mocov2.py",
    "../_base_/schedules/sgd_100ep.py",
    "../_base_/default_runtime.py",
]

train_dataloader = dict(batch_size=64)
optim_wrapper = dict(
    optimizer=dict(lr=0.05),
    clip_grad=None,
    paramwise_cfg=dict(constant_lr=["predictor"]),
)
param_scheduler = [dict(_base_.lr_schedule, warmup=0, end_lr=0.0)]

# BYOL with ResNet-50, 1000 epochs, batch 4096 on 8 GPUs: 128 images x 4 micro-batches each.
# Published: linear 74.3 (Grill et al. 2020, second-hand); 74.0 to 74.5 of the authors' code (their
# README). Sources: byol/configs/byol.py of the authors for 1000 epochs (rate 0.2 for a batch of
# 256, weight decay 1.5e-6, momentum 0.996; LARS, warm-up of 10 epochs), views of
# byol/utils/augmentations.py. Shorter runs, from the same file: 300 epochs with rate 0.3, weight
# decay 1e-6 and momentum 0.99; 100 epochs with 0.45, 1e-6 and 0.99. They end the cosine at 0, as
# here.
# The loss does not compare images, so micro-batches change the batch norms alone: they see 1024
# images at a time, the authors' 4096. The authors' precision is not known to us: this computes in
# float32; --amp auto is faster.
_base_ = [
    "../_base_/models/byol.py",
    "../_base_/views/byol.py",
    "../_base_/schedules/lars_100ep.py",
    "../_base_/hooks/ema_teacher.py",
]

# As in byol/utils/networks.py: no bias in the last layers, and residual blocks that start as the
# identity.
model = dict(
    backbone=dict(zero_init_residual=True),
    head=dict(with_last_bias=False),
    predictor=dict(with_last_bias=False),
)
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(accumulative_counts=4, optimizer=dict(lr=0.2, weight_decay=1.5e-6))
default_hooks = dict(ema_teacher=dict(momentum=0.996))
train_cfg = dict(max_epochs=1000)

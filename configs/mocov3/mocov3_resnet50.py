# MoCo v3 with ResNet-50, 1000 epochs, batch 4096 on 8 GPUs: 512 images each.
# Published: linear 74.6 (CONFIG.md of the authors, on 16 GPUs). Source: its command and the
# defaults of main_moco.py: LARS, rate 0.3 for a batch of 256, weight decay 1.5e-6, warm-up of 10
# epochs, momentum 0.996, temperature 1, crops from 0.2, mixed precision.
# Shorter runs, from CONFIG.md: 300 epochs (72.8) with weight decay 1e-6 and momentum 0.99; 100
# epochs (68.9) with rate 0.6 beside.
# The negatives are all 4096 images; the networks run on 256 of the 512 at a time.
_base_ = [
    "../_base_/models/mocov3.py",
    "../_base_/views/mocov3.py",
    "../_base_/schedules/lars_100ep.py",
    "../_base_/hooks/ema_teacher.py",
]

model = dict(micro_batch=256)
train_dataloader = dict(batch_size=512)
optim_wrapper = dict(optimizer=dict(lr=0.3, weight_decay=1.5e-6), precision="auto")
default_hooks = dict(ema_teacher=dict(momentum=0.996))
train_cfg = dict(max_epochs=1000)

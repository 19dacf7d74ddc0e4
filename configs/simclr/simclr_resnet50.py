# SimCLR with ResNet-50, 100 epochs, batch 4096 on 8 GPUs: 512 images each.
# Published: linear 64.5 after 100 epochs (README of the authors), 69.3 after 1000 (Chen et al.
# 2020, second-hand; 69.1 for the checkpoint in the README). Source: the README's command and the
# defaults of run.py: rate 0.3 for a batch of 256, LARS, weight decay 1e-6, warm-up of 10 epochs,
# temperature 0.1. The loss compares all 4096 images. The networks run on 128 of the 512 at a time,
# so that batch norms see 1024 images, the authors' 4096. The authors computed on TPUs: this is
# float32; --amp auto is faster.
_base_ = [
    "../_base_/models/simclr.py",
    "../_base_/views/simclr.py",
    "../_base_/schedules/lars_100ep.py",
    "../_base_/default_runtime.py",
]

model = dict(micro_batch=128)
train_dataloader = dict(batch_size=512)

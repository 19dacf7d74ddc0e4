# SwAV with ResNet-50 at a small batch: 400 epochs, 8 GPUs x 32 images, with a queue.
# Published: linear 74.3 after 400 epochs, 72.7 after 200 (README of the authors). Source: the
# README's command for 8 GPUs: rate 0.6, no warm-up, a cosine to 0.0006, prototypes frozen for 5005
# steps, a queue of 3840 images from epoch 15.
_base_ = ["swav_resnet50.py"]

model = dict(micro_batch=None, loss=dict(queue_length=3840))
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(optimizer=dict(lr=0.6))
param_scheduler = [dict(_base_.lr_schedule, warmup=0, end_lr=0.0006)]
default_hooks = dict(
    last_layer_freeze=dict(steps=5005),
    queue_start=dict(type="mmdino.QueueStartHook", epochs=15),
)
train_cfg = dict(max_epochs=400)

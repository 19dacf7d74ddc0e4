# Fine-tuning of the student of DeiT-B on ImageNet with the authors' recipe, batch 2048 on 8 GPUs.
# Published: 83.0 (their README); DeiT itself 81.8, second-hand.
_base_ = ["distill_dino_vitb16_imagenet.py"]
work_dir = "work_dirs/finetune_distill_deit_vitb16_imagenet"

checkpoint = "work_dirs/distill_deit_vitb16_300ep/epoch_300.pth"
lr = 1.25e-3  # for a batch of 512
layer_decay_rate = 0.65

model = dict(backbone=dict(drop_path_rate=0.3, init_cfg=dict(checkpoint=checkpoint)))
optim_wrapper = dict(optimizer=dict(lr=lr), paramwise_cfg=dict(layer_decay_rate=layer_decay_rate))
param_scheduler = [dict(_base_.param_scheduler[0], start_ratio=2.5e-7 / lr, end_ratio=2.5e-7 / lr)]

# Fine-tuning of the student of CLIP ViT-B/16 on ImageNet with the authors' recipe, batch 2048 on 8
# GPUs. Published: 84.9 (their README); CLIP itself 82.9, second-hand, and 85.7 with another recipe
# (arXiv 2212.06138), so compare with CLIP fine-tuned with this one.
# The student of 100 epochs has, in the authors' configs, layer_decay_rate 0.65 and drop path 0.1.
_base_ = ["distill_deit_vitb16_imagenet.py"]
work_dir = "work_dirs/finetune_distill_clip_vitb16_imagenet"

checkpoint = "work_dirs/distill_clip_vitb16_300ep/epoch_300.pth"
layer_decay_rate = 0.6

model = dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint)))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=layer_decay_rate))

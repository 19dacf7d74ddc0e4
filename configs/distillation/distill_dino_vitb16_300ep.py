# Feature distillation of DINO's ViT-B/16 for 300 epochs, batch 2048: 128 images x 2 micro-batches x
# 8 GPUs (the authors: 16 GPUs). The teacher is the backbone file of DINO's authors, or any file of
# the same network:
#   python tools/train.py configs/distillation/distill_dino_vitb16_300ep.py \
#     --cfg-options model.teacher.checkpoint=work_dirs/dino_vitb16/epoch_400.pth
# Published (the authors' README), fine-tuned: 83.8; the teacher itself 82.8, second-hand.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/feature_distillation_vitb16.py",
    "../_base_/views/feature_distillation.py",
    "../_base_/schedules/adamw_feature_distillation.py",
]

checkpoint = "dino_vitbase16_pretrain.pth"

model = dict(teacher=dict(checkpoint=checkpoint))
optim_wrapper = dict(precision="auto", accumulative_counts=2)

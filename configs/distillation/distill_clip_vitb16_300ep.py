# Feature distillation of CLIP's ViT-B/16 for 300 epochs, batch 2048: 128 images x 2 micro-batches x
# 8 GPUs (the authors: 16 GPUs). The teacher is OpenAI's archive, whose code is not run:
#   python tools/train.py configs/distillation/distill_clip_vitb16_300ep.py \
#     --cfg-options model.teacher.checkpoint=ViT-B-16.pt
# Published (the authors' README), fine-tuned: 84.9; the teacher itself 82.9, from memory of the
# paper.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/feature_distillation_clip_vitb16.py",
    "../_base_/views/feature_distillation.py",
    "../_base_/schedules/adamw_feature_distillation.py",
]

optim_wrapper = dict(precision="auto", accumulative_counts=2)

# Feature distillation of DeiT's ViT-B/16 for 300 epochs, batch 2048, with the recipe of
# distill_dino_vitb16_300ep.py. The teacher is deit_base_patch16_224 of its authors, which has no
# distillation token; its classifier is left out.
# Published (the authors' README), fine-tuned: 83.0; the teacher itself 81.8, from memory of the
# paper.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/feature_distillation_vitb16.py",
    "../_base_/views/feature_distillation.py",
    "../_base_/schedules/adamw_feature_distillation.py",
]

checkpoint = "deit_base_patch16_224-b5f2ef4d.pth"

model = dict(teacher=dict(checkpoint=checkpoint))
optim_wrapper = dict(precision="auto", accumulative_counts=2)

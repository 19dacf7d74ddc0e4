# Fine-tuning of DINO's ViT-B/16 itself with the recipe of its student, to compare the two: mean of
# patches, rates and augmentation are those of distill_dino_vitb16_imagenet.py, positions are
# learned embeddings. 82.8 is published for DINO, with another recipe (vitb16_imagenet.py).
_base_ = ["distill_dino_vitb16_imagenet.py"]
work_dir = "work_dirs/finetune_distill_dino_vitb16_teacher_imagenet"

checkpoint = "work_dirs/dino_vitb16/epoch_400.pth"

model = dict(
    backbone=dict(
        _delete_=True,
        type="mmdino.VisionTransformer",
        arch="deit-base",
        img_size=224,
        patch_size=16,
        out_type="features",
        final_norm=False,
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    )
)

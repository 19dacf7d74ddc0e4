# DINO's ViT-S/16 into a ResNet-50 for 100 epochs, batch 1024: 128 images x 8 GPUs. The places of
# its map, 7 x 7, predict the patches, which are resized from 14 x 14; their mean predicts the class
# token. The optimisation is that of the ViTs here, our own choice. No figures are published.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/backbones/resnet50.py",
    "../_base_/views/feature_distillation.py",
    "../_base_/schedules/adamw_feature_distillation.py",
]

checkpoint = "dino_deitsmall16_pretrain.pth"

model = dict(
    type="mmdino.FeatureDistillation",
    backbone=_base_.resnet50,
    neck=dict(type="GlobalAveragePooling"),
    teacher=dict(
        backbone=dict(
            type="mmdino.VisionTransformer",
            arch="vit-s",
            img_size=224,
            patch_size=16,
            out_type="features",
        ),
        checkpoint=checkpoint,
    ),
    data_preprocessor=dict(type="mmdino.MultiViewPreprocessor"),
)
optim_wrapper = dict(
    precision="auto",
    paramwise_cfg=dict(not_decayed=[]),  # there is no class token
)
train_cfg = dict(max_epochs=100)

# Continues from the authors' ViT-S/14 on ImageNet or, with train_dataloader.dataset.data_root, on
# your own images, without wrecking its features. Released weights have no heads, and with new ones
# at the rate of a run from scratch users saw the features degrade (issues 204 and 339 of the
# authors' repository). So the heads are trained on the frozen backbone in the first passes
# (default_hooks.backbone_freeze), then everything at a low rate.
#   tools/dist_train.sh configs/dinov2/dinov2_continue_vits14.py 8
# The log has the k-NN accuracy at iteration 0, and warns if it falls below that; without labelled
# images add val_dataloader=None val_cfg=None val_evaluator=None.
# Weights: https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth; any file
# of this network does, such as timm's, whose missing mask token starts from 0 and is learned after
# the freeze. For the one with registers, dinov2_vits14_reg4_pretrain.pth, add
#   model.backbone.num_registers=4 model.backbone.pos_embed_offset=0.0 \
#   model.backbone.pos_embed_antialias=True
# To train heads alone, as a distillation from released weights needs them, freeze the backbone for
# the whole run: default_hooks.backbone_freeze.epochs=20.
_base_ = [
    "../_base_/models/dinov2_vit.py",
    "../_base_/views/dinov2.py",
    "../_base_/schedules/adamw_dinov2.py",
]

checkpoint = "checkpoints/dinov2_vits14_pretrain.pth"
frozen_epochs, max_epochs = 2, 20
# Of the authors' runs on ImageNet-22k, a twentieth of that of their short recipe.
lr = 0.0002
# Of DINOv3's stages that go on from a trained network.
momentum = 0.999
global_size, local_size, patch_size = 224, 98, 14

# Stochastic depth of 0.1 is DINO's for ViT-S. Lengths are our choice: passes over ImageNet, for
# other images about 625 * 2048 / images times as many.
model = dict(
    backbone=dict(drop_path_rate=0.1, init_cfg=dict(type="Pretrained", checkpoint=checkpoint)),
)
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        color="fused",
        views=[*_base_.global_views, dict(_base_.local_views, size=local_size)],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(
    batch_size=256,
    dataset=dict(pipeline=train_pipeline),
    collate_fn=dict(view_size=global_size, patch_size=patch_size),
)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [
    dict(_base_.lr_schedule, warmup=1),
    dict(_base_.decay_schedule, end_value=0.04),
]
default_hooks = dict(
    ema_teacher=dict(momentum=momentum),
    last_layer_freeze=dict(epochs=1),
    teacher_temp_warmup=dict(epochs=2),
    backbone_freeze=dict(
        type="mmdino.LastLayerFreezeHook", layer="backbone", epochs=frozen_epochs, what="backward"
    ),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=1)

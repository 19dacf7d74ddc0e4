# ViT-S/16 distilled from the ViT-L/16 of dinov2_vitl16_short.py, which has to be trained first.
#   tools/dist_train.sh configs/dinov2/dinov2_distil_vits16.py 8
# The training loop is DINOv2's with targets from the frozen network: views are not masked, the loss
# of patches is over all patches of the global views, and there is no stochastic depth. What is kept
# and evaluated is a moving average of the student, on which the training does not depend. KoLeo
# stays, since the paper does not list it among the differences; model.koleo_weight=0 drops it.
# As in DINOv3's code, the loss of patches is over some of them only with
# train_dataloader.collate_fn=dict(type="mmdino.BlockMasks", view_size=224, patch_size=16).
#
# Student and teacher have the same patch size and prototypes. For a student of 14 pixels, train
# heads on a released L/14 first: dinov2_continue_vits14.py.
_base_ = [
    "../_base_/models/dinov2_vit.py",
    "../_base_/views/dinov2.py",
    "../_base_/schedules/adamw_dinov2.py",
]

checkpoint = "work_dirs/dinov2_vitl16_short/epoch_200.pth"
num_prototypes = 65536
# Second-hand, not verified: rate, batch and momentum of the paper's distillation (Oquab et al.
# 2023). The rate is taken as that of the batch of 2048: 8 GPUs x 256 images.
lr = 0.001
momentum = 0.994

model = dict(
    backbone=dict(img_size=224, patch_size=16, drop_path_rate=0.0, mask_token=False),
    head=dict(out_channels=num_prototypes),
    frozen_teacher=dict(
        backbone=dict(
            type="mmdino.VisionTransformer",
            arch="vit-l",
            img_size=224,
            patch_size=16,
            out_type="features",
            mask_token=True,
            layer_scale_init_value=1e-5,
        ),
        head=dict(
            type="mmdino.DINOHead",
            in_channels=1024,
            out_channels=num_prototypes,
            norm_last_layer=False,
        ),
        checkpoint=checkpoint,
    ),
)
train_dataloader = dict(batch_size=256, collate_fn=dict(_delete_=True, type="default_collate"))
# Without layer decay, as the authors' runs on ImageNet-22k; constant weight decay, as the
# distillation in DINOv3's code.
optim_wrapper = dict(optimizer=dict(lr=lr), paramwise_cfg=dict(layer_decay=1.0))
auto_scale_lr = dict(base_batch_size=2048)
param_scheduler = [_base_.lr_schedule, dict(_base_.decay_schedule, end_value=0.04)]
default_hooks = dict(ema_teacher=dict(momentum=momentum))

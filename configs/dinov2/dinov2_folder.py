# Your own unlabelled images: any folder tree, one GPU. Set data_root below, or on the command line:
#   python tools/train.py configs/dinov2/dinov2_folder.py --cfg-options \
#       train_dataloader.dataset.data_root=PATH
# ViT-S/14, views of 224 and 98 pixels, centred targets and one head: the centre follows many small
# batches, where Sinkhorn-Knopp has to spread one over all prototypes. An epoch is a pass over the
# images.
#
# The knobs, and what to set them to by the number of images (one GPU each; our choice, not
# measured):
#                    about 1,000   10,000   100,000   why
#   max_epochs           1000         400       200   enough steps to learn at all
#   num_prototypes       1024        4096     16384   more than kinds of objects
#   batch_size             64         128       256   as large as memory allows: DINOv2 needs more
#                                                     than DINO; model.micro_batch saves memory
#   momentum           0.9995       0.999     0.998   a small batch needs a slow teacher
#   lr                  0.002       0.002     0.002   for a batch of 1024, it follows the root of
#                                                     the batch; lower it if the loss jumps
# The authors use 2048 images, and below some hundreds users saw a loss that stays flat (README.md).
# Compare with configs/dino_folder.py, which is less in need of a large batch. Watch the log:
# ce_over_lnk or ibot_ce_over_lnk near 1 for long means that nothing is learned.
_base_ = [
    "../_base_/models/dinov2_vit.py",
    "../_base_/schedules/adamw_dinov2.py",
]

data_root = "data/my_images"
max_epochs = 400
num_prototypes = 4096
batch_size = 128
momentum = 0.999
lr = 0.002

patch_size, global_size, local_size = 14, 224, 98
model = dict(
    backbone=dict(img_size=global_size, patch_size=patch_size, drop_path_rate=0.1),
    head=dict(out_channels=num_prototypes),
)
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    # For photographs color="fused" is faster; see MultiCropTransform. The probabilities of the blur
    # are those of _base_/views/dinov2.py.
    dict(
        type="mmdino.MultiCropTransform",
        views=[
            dict(num=1, size=global_size, scale=(0.32, 1.0)),
            dict(num=1, size=global_size, scale=(0.32, 1.0), blur_prob=0.9, solarize_prob=0.2),
            dict(num=8, size=local_size, scale=(0.05, 0.32), blur_prob=0.5),
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type="mmdino.EpochSampler", shuffle=True),
    collate_fn=dict(type="mmdino.BlockMasks", view_size=global_size, patch_size=patch_size),
    dataset=dict(type="mmdino.ImageFolder", data_root=data_root, pipeline=train_pipeline),
)
optim_wrapper = dict(optimizer=dict(lr=lr))
param_scheduler = [dict(_base_.lr_schedule, warmup=10), _base_.decay_schedule]
default_hooks = dict(
    ema_teacher=dict(momentum=momentum),
    last_layer_freeze=dict(epochs=1),
    teacher_temp_warmup=dict(epochs=30),
    checkpoint=dict(interval=10),
)
# Without labels there is no k-NN: the log's feature_std and used_prototypes show whether features
# spread. With some labelled images, copy the val_* entries of _base_/datasets/imagenet.py.
train_cfg = dict(max_epochs=max_epochs)

# Your own unlabelled images: any folder tree, one GPU. Set data_root below, or on the command line:
#   python tools/train.py configs/dino_folder.py --cfg-options \
#       train_dataloader.dataset.data_root=PATH
# "mmdino train --data PATH" chooses these and more by itself, and writes them as a config.
#
# The knobs, and what to set them to by the number of images (one GPU each):
#                    about 1,000   10,000   100,000   why
#   max_epochs           1000         400       200   enough steps to learn at all
#   num_prototypes       1024        4096     16384   more than kinds of objects
#   batch_size             32          64       128   as large as memory allows
#   momentum           0.9995      0.9995     0.999   a small batch needs a slow teacher
#   lr                 0.0005      0.0005    0.0005   for a batch of 256; lower it if the loss jumps
# Watch the log: ce_over_lnk that stays near 1 with kl near 0 means a collapse; CollapseMonitorHook
# then names what to try.
_base_ = [
    "_base_/models/dino_vit.py",
    "_base_/schedules/adamw_100ep.py",
    "_base_/hooks/dino.py",
]

data_root = "data/my_images"
max_epochs = 400
num_prototypes = 4096
batch_size = 64
momentum = 0.9995
lr = 0.0005

model = dict(head=dict(out_channels=num_prototypes))
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    # For photographs color="fused" is faster; see MultiCropTransform.
    dict(type="mmdino.MultiCropTransform"),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type="mmdino.EpochSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
    dataset=dict(type="mmdino.ImageFolder", data_root=data_root, pipeline=train_pipeline),
)
# Mixed precision; --amp off computes in float32.
optim_wrapper = dict(optimizer=dict(lr=lr), precision="auto")
default_hooks = dict(
    ema_teacher=dict(momentum=momentum),
    checkpoint=dict(interval=10),
)
# Without labels there is no k-NN: the log's feature_std and used_prototypes show whether features
# spread. With some labelled images, copy the val_* entries of _base_/datasets/imagenet.py.
train_cfg = dict(max_epochs=max_epochs)

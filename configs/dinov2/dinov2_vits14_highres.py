# The high-resolution finish of dinov2_vits14.py at 518 pixels, the published size for patches of
# 14; see dinov2_vitl16_highres.py.
_base_ = ["dinov2_vits14.py"]

load_from = "work_dirs/dinov2_vits14/epoch_200.pth"
global_size, local_size = 518, 112
max_epochs = 16

model = dict(backbone=dict(img_size=global_size), micro_batch=16)
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        color="fused",
        views=[
            *(dict(view, size=global_size) for view in _base_.global_views),
            dict(_base_.local_views, size=local_size),
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(
    collate_fn=dict(view_size=global_size), dataset=dict(pipeline=train_pipeline)
)
optim_wrapper = dict(optimizer=dict(lr=0.001))
param_scheduler = [dict(_base_.lr_schedule, warmup=2), _base_.decay_schedule]
default_hooks = dict(last_layer_freeze=dict(epochs=0), teacher_temp_warmup=dict(epochs=5))
train_cfg = dict(max_epochs=max_epochs, val_interval=4)

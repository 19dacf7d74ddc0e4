# The high-resolution finish (Oquab et al. 2023, section 4): goes on from dinov2_vitl16_short.py
# with global views of 512 pixels, a multiple of the patch. Position embeddings are interpolated
# when the checkpoint is loaded. All schedules run again, in 10,000 iterations: 16 passes.
# The authors released neither code nor rate: a quarter of the main run's and local views of 112
# pixels are those of DINOv3's high-resolution stage. Prototypes are not frozen: they are trained.
# On 8 GPUs, with 256 images each as the main run:
#   tools/dist_train.sh configs/dinov2/dinov2_vitl16_highres.py 8 \
#       --cfg-options load_from=PATH train_dataloader.batch_size=256
# k-NN at iteration 0 is that of the main run at 224 pixels; the log warns if it drops.
_base_ = ["dinov2_vitl16_short.py"]

load_from = "work_dirs/dinov2_vitl16_short/epoch_200.pth"
global_size, local_size = 512, 112
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
# A tenth of the run, and 30 hundredths, in whole passes.
param_scheduler = [dict(_base_.lr_schedule, warmup=2), _base_.decay_schedule]
default_hooks = dict(last_layer_freeze=dict(epochs=0), teacher_temp_warmup=dict(epochs=5))
train_cfg = dict(max_epochs=max_epochs, val_interval=4)

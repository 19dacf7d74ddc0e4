# The Gram stage (Siméoni et al. 2025, section 4): goes on from dinov3_vits16.py with patches that
# stay as similar to each other as those of the Gram teacher, a frozen copy of the teacher that the
# run starts from. It sees the global crops undistorted and at twice their size, as the authors' 512
# pixels for 256. Numbers are those of the authors' 7B: weight 2 after a rise of 1000 steps, copies
# every 10,000 steps and three at most, half the weight for the class term of local views, momentum
# 0.999, weight decay 0.04, and a rate of 3e-5, which with the factor of 4 in their rule is the
# 1.2e-4 here. Theirs is constant; a warm-up of one pass lets the fresh moments of Adam settle.
# Their stage is a fifth of the main run, and so is this one.
# The authors did not run it on ViT-L and smaller, and their Gram teacher is from the first tenths
# of the main run (paper, from memory). For another one:
#   --cfg-options model.gram.teacher.init_cfg.type=Pretrained \
#       model.gram.teacher.init_cfg.checkpoint=FILE default_hooks.gram_anchor.first_refresh=10000
_base_ = ["dinov3_vits16.py"]

load_from = "work_dirs/dinov3_vits16/epoch_200.pth"
max_epochs = 40
clean_size = 448

model = dict(gram=dict(weight=2.0, teacher={}))
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        color="fused",
        views=[
            *(dict(view, clean_size=clean_size) for view in _base_.global_views),
            _base_.local_views,
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
optim_wrapper = dict(optimizer=dict(lr=1.2e-4, weight_decay=0.04))
param_scheduler = [dict(_base_.lr_schedule, warmup=1, end_lr=None, end_ratio=1.0)]
default_hooks = dict(
    ema_teacher=dict(momentum=0.999, end_momentum=0.999),
    last_layer_freeze=dict(epochs=0),
    teacher_temp_warmup=dict(epochs=0),
    gram_anchor=dict(
        type="mmdino.GramAnchorHook",
        start=0,
        warmup=1000,
        first_refresh=0,
        refresh_interval=10000,
        max_refreshes=3,
        local_weight=0.5,
    ),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=4)

# The high-resolution stage (Siméoni et al. 2025, section 5.1): goes on from dinov3_vits16_gram.py
# with global views of 512 pixels, local ones of 112, and 768 for the Gram teacher, which stays the
# teacher that the run starts from. Numbers are those of the authors' 7B: 30,000 iterations (48
# passes), Gram weight 1.5, half the weight for the class term of local views, momentum 0.999,
# neighbours of KoLeo over ranks in groups of 16 images, and a rate that rises for 10,000 iterations
# (16 passes) to 1.25e-5, which with the factor of 4 in their rule is the 5e-5 here, and stays.
# What is simpler here: the rate rises on a line, theirs on half a cosine; and theirs mixes five
# pairs of sizes, of which this is the first (0.3 of the batches; 768/112, 768/168, 768/224 and
# 768/336 with 1152 for the Gram teacher are the others).
_base_ = ["dinov3_vits16_gram.py"]

load_from = "work_dirs/dinov3_vits16_gram/epoch_40.pth"
global_size, local_size, clean_size = 512, 112, 768
max_epochs = 48

model = dict(
    gram=dict(weight=1.5),
    koleo=dict(over_ranks=True, group_size=16),
    micro_batch=8,
)
train_pipeline = [
    dict(type="LoadImageFromFile", ignore_empty=True),
    dict(
        type="mmdino.MultiCropTransform",
        color="fused",
        views=[
            *(dict(v, size=global_size, clean_size=clean_size) for v in _base_.global_views),
            dict(_base_.local_views, size=local_size),
        ],
    ),
    dict(type="mmdino.PackViews"),
]
train_dataloader = dict(
    collate_fn=dict(view_size=global_size), dataset=dict(pipeline=train_pipeline)
)
optim_wrapper = dict(optimizer=dict(lr=5e-5))
param_scheduler = [dict(_base_.lr_schedule, warmup=16, end_lr=None, end_ratio=1.0)]
default_hooks = dict(
    gram_anchor=dict(warmup=0, refresh_interval=None, max_refreshes=None),
)
train_cfg = dict(max_epochs=max_epochs)

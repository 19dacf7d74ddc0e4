# CamVid at half its size, for a CPU: 240 x 180 pixels, no photometric distortion.
_base_ = ["camvid.py"]

scale = (240, 180)
crop_size = (128, 128)
stride = (85, 85)  # of the window that slides in testing

load_masks = _base_.load_masks
train_pipeline = [
    dict(type="LoadImageFromFile"),
    *load_masks,
    dict(type="RandomResize", scale=scale, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    # After Resize: mIoU is that of the image's own size.
    *load_masks,
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

# DINOv2's ViT-S/14 from the authors' file, frozen, with a linear head. DINOv3's protocol, that of
# dinov3_vits16_linear_ade20k.py, with 518 pixels for 512, which patches of 14 do not divide.
# The file with registers needs, of model.backbone.backbone, num_registers=4 pos_embed_offset=0
# pos_embed_antialias=True. Published, tested at several scales: 47.2.
_base_ = [
    "../_base_/models/seg_linear_vit.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/seg_linear.py",
    "../_base_/schedules/seg_40k.py",
    "../_base_/seg_runtime.py",
]

# The knobs.
checkpoint = "dinov2_vits14_pretrain.pth"
patch_size = 14
crop_size = (518, 518)
scale = (2072, 518)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="mmdino.CheckSegMap", num_classes=_base_.num_classes),
    dict(type="RandomResize", scale=scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=crop_size, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=scale, keep_ratio=True),
    dict(type="LoadAnnotations"),
    dict(type="mmdino.CheckSegMap", num_classes=_base_.num_classes),
    dict(type="PackSegInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

model = dict(
    data_preprocessor=dict(size=crop_size, test_cfg=dict(size_divisor=patch_size)),
    backbone=dict(
        backbone=dict(
            img_size=518,
            patch_size=patch_size,
            layer_scale_init_value=1e-5,
            mask_token=True,
            init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
        )
    ),
    test_cfg=dict(crop_size=crop_size, stride=(345, 345)),
)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=1e-3))

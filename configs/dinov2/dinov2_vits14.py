# ViT-S/14 with 4 registers, Sinkhorn-Knopp targets and a head each for classes and patches, as in
# the authors' runs on ImageNet-22k and their models with registers. Views are of 224 and 98 pixels,
# multiples of the patch.
# Nobody has published this network trained from scratch: the authors' S and B are distilled from g
# on LVD-142M. Optimisation, length and batch are those of their short run on ImageNet-1k, and so
# are the 65536 prototypes; their runs on ImageNet-22k have 131072, bottlenecks of 384 (classes) and
# 256 (patches), no layer decay, lr=2e-4 and a momentum of 0.994. Stochastic depth of 0.1 is DINO's
# for ViT-S.
# 8 GPUs x 256 images, of which the backbone sees 64 at a time: Sinkhorn-Knopp and KoLeo compare
# images, which accumulation would keep apart.
_base_ = ["dinov2_vitl16_short.py"]

patch_size, global_size, local_size = 14, 224, 98
num_prototypes = 65536

head = dict(
    type="mmdino.DINOHead", in_channels=384, out_channels=num_prototypes, norm_last_layer=False
)
model = dict(
    backbone=dict(
        arch="vit-s",
        patch_size=patch_size,
        num_registers=4,
        pos_embed_antialias=True,
        pos_embed_offset=0.0,
        drop_path_rate=0.1,
    ),
    head=head,
    patch_head=head,
    loss=dict(targets="sinkhorn_knopp"),
    ibot=dict(targets="sinkhorn_knopp"),
    micro_batch=64,
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
    collate_fn=dict(view_size=global_size, patch_size=patch_size),
    dataset=dict(pipeline=train_pipeline),
)
default_hooks = dict(
    center_update=None,
    last_layer_freeze=dict(layer=["head.last_layer", "patch_head.last_layer"]),
)

# Feature distillation of CLIP's ViT-B/16: the student of feature_distillation_vitb16.py, and the
# image tower of OpenAI's network as teacher, up to the norm at its end, before CLIP's projection.
_base_ = ["feature_distillation_vitb16.py"]

clip_teacher = dict(
    backbone=dict(
        type="mmdino.VisionTransformer",
        arch="vit-b",
        img_size=224,
        patch_size=16,
        out_type="features",
        pre_norm=True,
        norm_cfg=dict(type="LN", eps=1e-5),
        ffn="mlp_quick_gelu",  # "mlp" for the networks that open_clip has trained itself
        pos_embed_offset=0.0,
    ),
    checkpoint="ViT-B-16.pt",
    # CLIP's own, 0 to 255.
    mean=[0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255],
    std=[0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255],
)
model = dict(
    backbone=dict(drop_path_rate=0.2),
    teacher=dict(_delete_=True, **clip_teacher),
)

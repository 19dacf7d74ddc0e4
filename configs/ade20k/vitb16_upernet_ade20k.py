# UPerNet on ViT-B/16, fine-tuned with layer-wise learning rates. 8 GPUs of 2 images. As in iBOT's
# repository the head is as wide as the network, and all four outputs pass the last norm.
_base_ = [
    "../_base_/models/upernet_vit.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/seg_layer_decay.py",
    "../_base_/schedules/seg_160k.py",
    "../_base_/seg_runtime.py",
]

# The knobs. Any checkpoint of this project, or the authors' file.
checkpoint = "work_dirs/dino_vitb16/epoch_400.pth"
width = 768

model = dict(
    backbone=dict(
        arch="deit-base",
        norm_outputs=True,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    neck=dict(embed_dim=width),
    decode_head=dict(in_channels=[width] * 4, channels=width),
    auxiliary_head=dict(in_channels=width),
)

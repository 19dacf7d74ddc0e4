# UPerNet on ViT-S/16, fine-tuned with layer-wise learning rates. 8 GPUs of 2 images. As in iBOT's
# repository the head is as wide as the network, and all four outputs pass the last norm.
_base_ = [
    "../_base_/models/upernet_vit.py",
    "../_base_/datasets/ade20k.py",
    "../_base_/schedules/seg_layer_decay.py",
    "../_base_/schedules/seg_160k.py",
    "../_base_/seg_runtime.py",
]

# The knobs. Any checkpoint of this project, or the authors' file.
checkpoint = "work_dirs/dino_vits16/epoch_800.pth"
# iBOT's repository has these for ViT-S.
lr = 3e-5
layer_decay_rate = 0.9

model = dict(
    backbone=dict(norm_outputs=True, init_cfg=dict(type="Pretrained", checkpoint=checkpoint)),
    decode_head=dict(channels=384),
)
optim_wrapper = dict(
    optimizer=dict(lr=lr),
    paramwise_cfg=dict(layer_decay_rate=layer_decay_rate),
)

# The paper's ViT-B/16: 400 epochs. Published: k-NN 76.1, linear 78.2.
# Its prototypes keep their length: letting it train is unstable for ViT-B.
_base_ = ["dino_vits16.py"]

model = dict(
    backbone=dict(arch="deit-base"),
    head=dict(in_channels=768, norm_last_layer=True),
)
train_dataloader = dict(batch_size=32)  # on 32 GPUs
train_cfg = dict(max_epochs=400)

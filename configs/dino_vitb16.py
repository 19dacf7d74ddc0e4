# The paper's ViT-B/16: 400 epochs. Published: k-NN 76.1, linear 78.2.
# 32 images x 4 micro-batches x 8 GPUs make the batch of 1024.
_base_ = ["dino_vits16.py"]

model = dict(
    backbone=dict(arch="deit-base"),
    # Letting the prototypes' length train is unstable for ViT-B.
    head=dict(in_channels=768, norm_last_layer=True),
)
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(accumulative_counts=4)
train_cfg = dict(max_epochs=400)

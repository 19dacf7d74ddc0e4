# The paper's ViT-B/8: 300 epochs. Published: k-NN 77.4, linear 80.1.
# 8 images x 16 micro-batches x 8 GPUs make the batch of 1024.
_base_ = ["dino_vitb16.py"]

model = dict(backbone=dict(patch_size=8))
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(accumulative_counts=16)
train_cfg = dict(max_epochs=300)

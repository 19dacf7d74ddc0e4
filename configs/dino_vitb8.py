# The paper's ViT-B/8: 300 epochs. Published: k-NN 77.4, linear 80.1.
_base_ = ["dino_vitb16.py"]

model = dict(backbone=dict(patch_size=8))
train_dataloader = dict(batch_size=6)  # on 176 GPUs; accumulate on fewer
train_cfg = dict(max_epochs=300)

# 100 epochs on two views, 8 GPUs x 128 images. Paper: table 9, k-NN 59.9 (second-hand).
_base_ = ["dino_without_multicrop.py"]

train_cfg = dict(max_epochs=100)

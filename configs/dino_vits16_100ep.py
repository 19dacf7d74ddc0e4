# The authors' default run: ViT-S/16, 100 epochs, 8 GPUs x 64 images. The batch of 512 makes the
# peak learning rate 0.001. Source: the authors' README and the defaults of their code.
# Published there: k-NN 69.3, linear 74.0, 1.75 days on 8 GPUs.
_base_ = [
    "_base_/models/dino_vit.py",
    "_base_/datasets/imagenet.py",
    "_base_/schedules/adamw_100ep.py",
    "_base_/hooks/dino.py",
]

train_dataloader = dict(batch_size=64)
# Mixed precision, as in the authors' default; --amp off computes in float32.
optim_wrapper = dict(precision="auto")

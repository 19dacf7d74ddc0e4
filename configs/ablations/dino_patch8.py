# Patches of 8 pixels: four times the tokens. Paper: figure 5, without numbers. The same run in less
# memory: --cfg-options train_dataloader.batch_size=32 optim_wrapper.accumulative_counts=4
_base_ = ["../dino_vits16_300ep.py"]

model = dict(backbone=dict(patch_size=8))

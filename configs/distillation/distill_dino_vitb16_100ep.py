# distill_dino_vitb16_300ep.py in a third of the time. Of our own: the authors have 100 epochs for
# CLIP only, where the student's stochastic depth is half of that of 300 epochs, as here.
_base_ = ["distill_dino_vitb16_300ep.py"]

model = dict(backbone=dict(drop_path_rate=0.15))
train_cfg = dict(max_epochs=100)

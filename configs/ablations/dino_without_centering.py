# Sharpening alone. Paper: figure 7, collapses to one prototype: the entropy of the teacher and the
# divergence go to 0.
_base_ = ["../dino_vits16_100ep.py"]

model = dict(loss=dict(targets="softmax"))

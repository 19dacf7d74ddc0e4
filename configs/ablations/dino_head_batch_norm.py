# Batch norm in the head. Paper: appendix C, k-NN 68.6 against 69.7 (second-hand).
_base_ = ["../dino_vits16_100ep.py"]

model = dict(head=dict(use_bn=True))

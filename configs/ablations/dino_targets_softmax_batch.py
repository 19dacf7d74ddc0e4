# A softmax over the batch in place of the centre: one iteration of Sinkhorn-Knopp. Paper: table 15,
# row 2, linear 75.8 against 76.1 (second-hand).
_base_ = ["../dino_vits16_300ep.py"]

model = dict(loss=dict(targets="sinkhorn_knopp", sinkhorn_iterations=1))

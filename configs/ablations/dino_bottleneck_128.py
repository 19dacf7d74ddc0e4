# A bottleneck of 128 channels in place of 256. Not in the paper, which compares a head with and one
# without a bottleneck.
_base_ = ["../dino_vits16_100ep.py"]

model = dict(head=dict(bottleneck_channels=128))

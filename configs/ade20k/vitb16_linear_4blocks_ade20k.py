# ViT-B/16, frozen, with a linear head on four blocks: the protocol of the published linear mIoU of
# DINO on ADE20K (iBOT, Zhou et al. 2022). No batch norm; the final norm on each block.
_base_ = ["vitb16_linear_ade20k.py"]

# The knobs.
width = 768
blocks = [3, 5, 7, 11]

model = dict(
    backbone=dict(backbone=dict(out_indices=blocks, norm_outputs=True)),
    neck=None,
    decode_head=dict(
        input_transform="resize_concat",
        in_index=[0, 1, 2, 3],
        in_channels=[width] * len(blocks),
        channels=width * len(blocks),
    ),
)

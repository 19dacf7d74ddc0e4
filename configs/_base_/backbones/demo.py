# The backbone of dino_demo.py and of what starts from its checkpoints.
width, depth, heads = 64, 3, 2
vit = dict(
    type="mmdino.VisionTransformer",
    arch=dict(
        embed_dims=width,
        num_layers=depth,
        num_heads=heads,
        feedforward_channels=4 * width,
    ),
    img_size=48,
    patch_size=8,
)

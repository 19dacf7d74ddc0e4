# The backbone of dino_vitt4_cifar10.py and of what starts from its checkpoints.
width, depth, heads = 128, 4, 4  # 192, 12, 3 is ViT-Ti, which needs a GPU
vit = dict(
    type="mmdino.VisionTransformer",
    arch=dict(
        embed_dims=width,
        num_layers=depth,
        num_heads=heads,
        feedforward_channels=4 * width,
    ),
    img_size=32,
    patch_size=4,
)

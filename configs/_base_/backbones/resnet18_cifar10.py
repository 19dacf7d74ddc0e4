# ResNet-18 for images of 32 pixels: a stem of 3x3 without pooling (as in lightly's benchmark).
width = 512  # of the feature; 8 times base_channels
resnet18 = dict(
    type="ResNet_CIFAR",
    depth=18,
    num_stages=4,
    out_indices=(3,),
    base_channels=64,  # halve it, stem_channels and width for a CPU
    stem_channels=64,
    zero_init_residual=False,
)

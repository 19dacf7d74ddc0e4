# The backbone of the configs for ImageNet with a ResNet, followed by global average pooling.
resnet50 = dict(type="mmdino.ResNet", depth=50, num_stages=4, out_indices=(3,))

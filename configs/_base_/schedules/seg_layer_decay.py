# Fine-tuning of a ViT, with rates that fall towards the first layer. Rate, weight decay and layer
# decay are those of iBOT's repository for ViT-B.
optim_wrapper = dict(
    type="OptimWrapper",
    constructor="mmdino.LayerDecayConstructor",
    optimizer=dict(type="AdamW", lr=8e-5, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        layer_decay_rate=0.65,
        # No weight decay on biases, norms, class token and position embeddings.
        flat_decay_mult=0.0,
        custom_keys=dict(cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)),
    ),
)
# lr is for a batch of 16; auto_scale_lr and the constructor scale it to the real one.
auto_scale_lr = dict(enable=True, base_batch_size=16)

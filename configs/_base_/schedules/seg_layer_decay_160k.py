# Fine-tuning of a ViT over 160k iterations, with rates that fall towards the first layer. Rate,
# weight decay and layer decay are those of iBOT's repository for ViT-B.
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
# lr is that of a batch of 16; auto_scale_lr and the constructor scale it to the real one.
auto_scale_lr = dict(enable=True, base_batch_size=16)
# Both schedules multiply, and the last rate is 0, so the layers keep their proportion throughout.
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-6, by_epoch=False, begin=0, end=1500),
    dict(type="PolyLR", power=1.0, eta_min=0.0, by_epoch=False, begin=1500, end=160000),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=160000, val_interval=16000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")

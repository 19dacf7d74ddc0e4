# DeiT's optimisation, which DINO's authors fine-tuned with. The layer-wise decay of the rate is not
# theirs; layer_decay_rate=1 turns it off.
optim_wrapper = dict(
    type="mmdino.StepOptimWrapper",
    constructor="mmdino.LayerDecayConstructor",
    # lr is for a batch of 512; auto_scale_lr and the constructor scale it to the real one.
    optimizer=dict(type="AdamW", lr=0.0005, weight_decay=0.05),
    paramwise_cfg=dict(
        layer_decay_rate=0.75,
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={
            ".cls_token": dict(decay_mult=0.0),
            ".pos_embed": dict(decay_mult=0.0),
        },
    ),
)
auto_scale_lr = dict(enable=True, base_batch_size=512)
lr_schedule = dict(
    type="mmdino.WarmupCosineLR",
    warmup=5,
    # To 0, so that the rates of the layers keep their proportions.
    end_lr=0.0,
    by_epoch=True,
    convert_to_iter_based=True,
)
param_scheduler = [lr_schedule]
# Nothing to see at the start: the classifier is random.
train_cfg = dict(
    type="mmdino.ResumableTrainLoop", max_epochs=300, val_interval=1, val_at_start=False
)
val_evaluator = dict(type="Accuracy", topk=(1, 5))

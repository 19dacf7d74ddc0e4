# Fine-tuning of feature distillation (Wei et al. 2022, configs and main_finetune.py of the
# authors): a high rate that falls by 0.6 a layer, a long warm-up, and each step has the rate of the
# one before.
_base_ = ["finetune_300ep.py"]

optim_wrapper = dict(
    optimizer=dict(lr=1.5e-3, betas=(0.9, 0.999), eps=1e-8),
    clip_grad=dict(max_norm=5.0),
    # Tables of relative positions are decayed.
    paramwise_cfg=dict(layer_decay_rate=0.6),
)
# The authors' first and last rate, 2.5e-7 for a batch of 512, are those of all layers; here they
# fall with the layer, as the peak does.
param_scheduler = [
    dict(
        _base_.lr_schedule,
        warmup=20,
        start_ratio=2.5e-7 / 1.5e-3,
        end_ratio=2.5e-7 / 1.5e-3,
        end_lr=None,
        delayed=True,
    )
]
train_cfg = dict(max_epochs=100)

# A linear head on a frozen ViT. Rate and weight decay are those of the command that iBOT's
# repository gives for this evaluation (evaluation/README.md there), for a batch of 16.
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=8e-4, betas=(0.9, 0.999), weight_decay=0.05),
)

# Fine-tuning of dino_vitt4_cifar10.py on CIFAR-10, for one GPU or a CPU.
# On a CPU add: --cfg-options train_dataloader.dataset.every=5 train_cfg.max_epochs=20
# model.backbone.init_cfg.checkpoint=work_dirs/dino_vitt4_cifar10/epoch_14.pth
_base_ = [
    "../_base_/backbones/vitt4_cifar10.py",
    "../_base_/models/finetune_vit.py",
    "../_base_/datasets/cifar10_cls.py",
    "../_base_/schedules/finetune_300ep.py",
    "../_base_/eval_runtime.py",
]
work_dir = "work_dirs/finetune_vitt4_cifar10"

checkpoint = "work_dirs/dino_vitt4_cifar10/epoch_200.pth"
max_epochs = 50
lr = 0.002  # for a batch of 512: 0.0005 at 128; a small network tolerates more than ViT-S

model = dict(
    data_preprocessor=dict(num_classes=10),
    backbone=dict(
        _delete_=True,
        **_base_.vit,
        drop_path_rate=0.1,
        init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
    ),
    head=dict(in_channels=_base_.width, num_classes=10),
)
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=lr))
train_cfg = dict(max_epochs=max_epochs, val_interval=5)

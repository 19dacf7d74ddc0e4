# Linear evaluation of dino_vitt4_cifar10.py on CIFAR-10, for one GPU or a CPU.
# On a CPU add: --cfg-options train_dataloader.dataset.every=5 train_cfg.max_epochs=10
# model.backbone.backbone.init_cfg.checkpoint=work_dirs/dino_vitt4_cifar10/epoch_14.pth
_base_ = [
    "../_base_/backbones/vitt4_cifar10.py",
    "../_base_/models/linear_vit.py",
    "../_base_/datasets/cifar10_cls.py",
    "../_base_/schedules/linear_100ep.py",
    "../_base_/eval_runtime.py",
]
work_dir = "work_dirs/linear_vitt4_cifar10"

checkpoint = "work_dirs/dino_vitt4_cifar10/epoch_200.pth"
max_epochs = 30

model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            **_base_.vit,
            out_indices=[0, 1, 2, 3],
            out_type="features",
            norm_outputs=True,
            init_cfg=dict(type="Pretrained", checkpoint=checkpoint),
        )
    ),
    head=dict(in_channels=4 * _base_.width, num_classes=10),
)
train_cfg = dict(max_epochs=max_epochs)

# ViT-L/16 (1024 wide, 24 deep, 16 heads) with student and teacher sharded over the ranks by
# PyTorch's FSDP. The authors published no ViT-L: learning rate, clipping, freeze, temperature,
# views and epochs are those of dino_vitb16.py for want of better ones; no accuracy is known.
#   tools/dist_train.sh configs/dino_vitl16_fsdp.py 8
# 16 images x 8 micro-batches x 8 GPUs make the batch of 1024; on 64 GPUs set
# optim_wrapper.accumulative_counts=1, which also keeps each rank from holding whole gradients.
_base_ = ["dino_vitb16.py"]

model = dict(backbone=dict(arch="large"), head=dict(in_channels=1024))
train_dataloader = dict(batch_size=16)
# Not "auto": float16 is refused, since each rank would decide by itself whether to skip a step.
optim_wrapper = dict(accumulative_counts=8, precision="bfloat16")

# mmengine's ordinary runner initialises and saves as if every rank held whole tensors.
runner_type = "FlexibleRunner"
strategy = dict(type="mmdino.StudentTeacherFSDPStrategy")

"""What a user may get wrong, tool by tool: how each ends, and what its one line must name."""

from __future__ import annotations

import errno
import os
import re
import shlex
import time
from pathlib import Path
from string import Template
from typing import NamedTuple

import pytest
import tiny_evaluations
import tiny_segmentation
import tiny_tools
import torch
from mmengine.logging import MMLogger
from mmengine.runner import Runner

from mmdino.utils.folder_lock import unlock_folder

RUNS = ("train.py", "test.py")
CROPS = "dict(type='mmdino.MultiCropTransform', views=[dict(num=2, size=16, scale=(0.4, 1.0))])"
RESUME = "train.py $tiny --resume $ckpt --cfg-options train_cfg.max_epochs=3"
SGD = "optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.1))"
EXTRACT = "extract_features.py $ckpt"
NOTHING = "Nothing is left to train"
EXTRACTION = "--size 32 --crop 32 --workers 0"


class Row(NamedTuple):
    """One wrong input.

    Attributes:
        listed: Section of the issue that lists it: "silent", "ugly" or "security"; "" for others.
        command: Tool and arguments, with the names of :func:`places` after a dollar sign.
        named: What the line must have.
        config: Text of a config, which is $config.
        code: Exit code; what is no error is 0 and named in the output.
    """

    listed: str
    command: str
    named: str
    config: str = ""
    code: int = 2

    def __str__(self) -> str:
        options = self.command.replace("--cfg-options ", "").replace("$", "")
        changes = "; ".join(line for line in self.config.splitlines() if "_base_" not in line)
        return f"{self.listed or 'unlisted'}: {options} {changes}".strip()


def options(listed, option, named, run="train.py $tiny"):
    """A row with --cfg-options."""
    return Row(listed, f"{run} --cfg-options {option}", named)


def pipeline(steps):
    """Text of a config that changes the pipeline of the training images."""
    return f"train_dataloader = dict(dataset=dict(pipeline=[{steps}]))"


def config(listed, text, named, base="tiny"):
    """A row with a config that changes another one."""
    return Row(listed, "train.py $config", named, f'_base_ = ["$root/{base}.py"]\n{text}\n')


OPTIMISATION = [
    options(
        "ugly",
        "optim_wrapper.optimizer.lr=abc",
        "optim_wrapper.optimizer.lr: got 'abc'; expected a finite number above 0",
    ),
    options(
        "",
        "optim_wrapper.optimizer.lr=[0.1,0.2]",
        "optimizer.lr: got [0.1, 0.2]; expected a finite number above 0",
    ),
    options(
        "",
        "optim_wrapper.optimizer.lr=True",
        "optimizer.lr: got True; expected a finite number above 0",
    ),
    options(
        "",
        "optim_wrapper.optimizer.lr=1e400",
        "optimizer.lr: got inf; expected a finite number above 0",
    ),
    options(
        "",
        "optim_wrapper.optimizer.lr=-0.0",
        "optimizer.lr: got -0.0; expected a finite number above 0",
    ),
    options(
        "", "optim_wrapper.optimizer.lr=", "optimizer.lr: got ''; expected a finite number above 0"
    ),
    options(
        "",
        "optim_wrapper.optimizer.lr=None",
        "optimizer.lr: got None; expected a finite number above 0",
    ),
    options(
        "",
        "optim_wrapper.optimizer.betas=0.9",
        "optimizer.betas: got 0.9; expected 2 values in a list",
    ),
    options("", "optim_wrapper.optimizer.betas=[0.9,0.99,0.999]", "expected 2 values in a list"),
    options(
        "",
        "optim_wrapper.optimizer.betas=[0.9,1.5]",
        "AdamW: Invalid beta parameter at index 1: 1.5",
    ),
    options(
        "",
        "optim_wrapper.optimizer.weight_decay=small",
        "optimizer.weight_decay: got 'small'; expected a finite number",
    ),
    options(
        "",
        "optim_wrapper.optimizer=None",
        "optim_wrapper.optimizer: got None; expected a dict with a type",
    ),
    options(
        "",
        "optim_wrapper.optimizer=AdamW",
        "optim_wrapper.optimizer: got 'AdamW'; expected a dict with a type",
    ),
    options(
        "",
        "optim_wrapper.optimizer=[AdamW]",
        "optim_wrapper.optimizer: got ['AdamW']; expected a dict with a type",
    ),
    options(
        "",
        "optim_wrapper.optimizer.params=all",
        "optimizer.params: it is that of the model; leave it out",
    ),
    options(
        "", "optim_wrapper.optimizer.type=AdmW", "there is no optimizer 'AdmW'; did you mean AdamW"
    ),
    options(
        "ugly",
        "optim_wrapper.lr=0.1",
        "optim_wrapper.lr: StepOptimWrapper has no 'lr'; did you mean optim_wrapper.optimizer.lr?",
    ),
    options(
        "",
        "optim_wrapper.type=AmpOptimWraper",
        "The config has 1 mistake: optim_wrapper.type: there is no optim_wrapper",
    ),
    options(
        "", "optim_wrapper.constructor=DecayGroups", "did you mean mmdino.DecayGroupsConstructor?"
    ),
    options(
        "ugly",
        "optim_wrapper.clip_grad.type=foo",
        "clip_grad.type: got 'foo'; expected one of norm, per_network, per_tensor, value",
    ),
    options(
        "",
        "optim_wrapper.clip_grad=3.0",
        "clip_grad: got 3.0; expected a dict, such as dict(max_norm=3.0)",
    ),
    options(
        "",
        "optim_wrapper.clip_grad.max_norm=low",
        "clip_grad.max_norm: got 'low'; expected a number above 0",
    ),
    options("", "optim_wrapper.precision=bf16", "did you mean 'bfloat16'?"),
    options(
        "ugly",
        "optim_wrapper.accumulative_counts=-1",
        "accumulative_counts: got -1; expected a whole number of at least 1",
    ),
    options(
        "silent",
        "optim_wrapper.accumulative_counts=1.5",
        "accumulative_counts: got 1.5; expected a whole number of at least 1",
    ),
    options(
        "silent",
        "optim_wrapper.accumulative_counts=100",
        "accumulative_counts=100 is more than the 2 micro-batch(es) of an epoch",
    ),
    options(
        "silent",
        "auto_scale_lr.enabled=False",
        "auto_scale_lr has no 'enabled'; did you mean enable?",
    ),
    options(
        "", "auto_scale_lr.enable=of", "auto_scale_lr.enable: got 'of'; expected True or False"
    ),
    options(
        "silent", "param_scheduler.0.warmup=5", "param_scheduler.0.warmup: 5 epochs of a run of 2"
    ),
    options(
        "", "param_scheduler.0.warmpu=1", "WarmupCosineLR has no 'warmpu'; did you mean warmup?"
    ),
    options("", "param_scheduler.5.warmup=1", "expected an index of it (0 to 1), got '5'"),
    options(
        "",
        "param_scheduler.0.end_lr=tiny",
        "param_scheduler.0.end_lr: got 'tiny'; expected a number",
    ),
    options("", "param_scheduler.0.end_lr=-1", "WarmupCosineLR got end_lr=-1"),
    options("", "param_scheduler.0.type=CosineLR", "there is no parameter scheduler 'CosineLR'"),
    options(
        "", "param_scheduler=cosine", "param_scheduler: got 'cosine'; expected a dict with a type"
    ),
]
LOOPS_AND_LOADERS = [
    options(
        "ugly",
        "train_cfg.max_epochs=0",
        "train_cfg.max_epochs: got 0; expected a whole number of at least 1",
    ),
    options(
        "ugly",
        "train_cfg.max_epoch=3",
        "train_cfg.max_epoch: ResumableTrainLoop has no 'max_epoch'; did you mean max_epochs?",
    ),
    options(
        "",
        "train_cfg.max_epochs=True",
        "train_cfg.max_epochs: got True; expected a whole number of at least 1",
    ),
    options(
        "",
        "train_cfg.max_epochs=[2]",
        "train_cfg.max_epochs: got [2]; expected a whole number of at least 1",
    ),
    options(
        "",
        "train_cfg.max_epochs=2.5",
        "train_cfg.max_epochs: got 2.5; expected a whole number of at least 1",
    ),
    options(
        "",
        "train_cfg.max_epochs=1e400",
        "train_cfg.max_epochs: got inf; expected a whole number of at least 1",
    ),
    options(
        "",
        "train_cfg.max_epochs=None",
        "train_cfg.max_epochs: got None; expected a whole number of at least 1",
    ),
    options(
        "",
        "train_cfg.val_interval=never",
        "train_cfg.val_interval: got 'never'; expected a whole number of at least 1",
    ),
    options("", "train_cfg.val_begin=-3", "train_cfg.val_begin: got -3"),
    options(
        "",
        "train_cfg.val_at_start=yes",
        "train_cfg.val_at_start: got 'yes'; expected True or False",
    ),
    options(
        "",
        "train_cfg.dynamic_intervals=5",
        "ResumableTrainLoop: assert is_list_of(dynamic_interval_list, tuple)",
    ),
    options("", "train_cfg=fast", "train_cfg: got 'fast'; expected a dict with a type"),
    options("", "train_cfg=None", "train_cfg: missing beside train_dataloader, optim_wrapper"),
    options(
        "",
        "train_dataloader.batch_size=True",
        "train_dataloader.batch_size: got True; expected a whole number of at least 1",
    ),
    options(
        "", "train_dataloader.batch_size=9", "The data set has 8 image(s), fewer than a batch of 9"
    ),
    options(
        "",
        "train_dataloader.num_workers=two",
        "num_workers: got 'two'; expected a whole number of at least 0",
    ),
    options(
        "",
        "train_dataloader.persistent_workers=True",
        "add train_dataloader.persistent_workers=False",
    ),
    options(
        "",
        "train_dataloader.pin_memory=maybe",
        "train_dataloader.pin_memory: got 'maybe'; expected True or False",
    ),
    options("", "train_dataloader.collate_fn.type=default_colate", "did you mean default_collate"),
    options(
        "",
        "train_dataloader.sampler.shufle=True",
        "EpochSampler has no 'shufle'; did you mean shuffle?",
    ),
    options(
        "",
        "train_dataloader.sampler.type=InfiniteSampler",
        "InfiniteSampler has no end, so no epoch has one",
    ),
    options(
        "",
        "train_dataloader.dataset=None",
        "train_dataloader.dataset: got None; expected a dict with a type",
    ),
    options(
        "",
        "train_dataloader.dataset.num_images=many",
        "dataset.num_images: got 'many'; expected a whole number",
    ),
    options(
        "",
        "train_dataloader.dataset.num_images=[8]",
        "dataset.num_images: got [8]; expected a whole number",
    ),
    options(
        "",
        "train_dataloader.dataset.split=trian",
        "split must be one of train, val, test, got 'trian'",
    ),
    options("", "train_dataloader.dataset.pipeline=[]", "A batch has no 'inputs'"),
    options(
        "",
        "train_dataloader.dataset.pipeline=fast",
        "transform must be a callable object or dict, but got <class 'str'>",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.type=MultiCropTransform",
        "did you mean mmdino.MultiCropTransform?",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.veiws=1",
        "MultiCropTransform has no 'veiws'; did you mean views?",
    ),
    options(
        "", "train_dataloader.dataset.pipeline.0.views=[]", "views must add up to at least 1 view"
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.views=many",
        "views must be a list of dicts, one per view group, got 'many'",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.color=grey",
        "color must be one of fused, sequential, got 'grey'",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.views.0.blur_porb=0.5",
        "pipeline.0.views.0.blur_porb: MultiCropTransform has no 'blur_porb'",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.views.0.num=[2]",
        "views[0].num must be an int of at least 0, got [2]",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.views.0.size=17",
        "A view of 17 x 17 pixels does not divide into patches of 8 x 8",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.views.0.size=100000000",
        "out of memory: take smaller batches or images",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.views.0.scale=[1.0,0.4]",
        "views[0].scale must be two finite numbers (low, high)",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.views.0.flip_prob=often",
        "views[0].flip_prob must be a number from 0 to 1, got 'often'",
    ),
]
MODEL = [
    options(
        "silent",
        "model.backbone.drop_path_rate=2",
        "drop_path_rate=2; it must be a finite number at least 0 and below 1",
    ),
    options(
        "silent",
        "model.backbone.drop_path_rate=1.0",
        "drop_path_rate=1.0; it must be a finite number at least 0 and below",
    ),
    options(
        "silent",
        "model.head.out_channels=1",
        "out_channels=1; it must be a whole number at least 2",
    ),
    options(
        "silent",
        "model.loss.teacher_temp=inf",
        "teacher_temp=inf; it must be a finite number above 0",
    ),
    options("ugly", "model.foo=1", "model.foo: DINO has no 'foo' (it has backbone"),
    options("ugly", "model.backbone.arch.num_heads=5", "5 heads for a width of 12"),
    options(
        "",
        "model.backbone.arch.num_heads=two",
        "arch.num_heads='two'; it must be a whole number at least 1",
    ),
    options(
        "",
        "model.backbone.arch.num_layer=2",
        "VisionTransformer has no 'num_layer'; did you mean num_layers?",
    ),
    options(
        "", "model.backbone.arch.embed_dims=[12]", "arch.embed_dims=[12]; it must be a whole number"
    ),
    options("", "model.backbone.patch_size=sixteen", "model.backbone.patch_size: got 'sixteen'"),
    options(
        "",
        "model.backbone.patch_size=7",
        "32 x 32 pixels, which do not divide into patches of 7 x 7",
    ),
    options(
        "",
        "model.backbone.init_cfg=$ckpt",
        "init_cfg: got '$ckpt'; expected a dict, such as dict(type='Pretr",
    ),
    options(
        "", "model.backbone.init_cfg.type=Pretraind", "there is no weight initializer 'Pretraind'"
    ),
    options(
        "",
        "model.head.in_channels=13",
        "The backbone gives features of shape (12,), but the head has in_channels=13",
    ),
    options(
        "", "model.head.use_bn=maybe", "model.head.use_bn: got 'maybe'; expected True or False"
    ),
    options("", "model.head=None", "model.head: got None; expected a dict"),
    options(
        "",
        "model.loss.student_tmp=0.1",
        "DINOLoss has no 'student_tmp'; did you mean student_temp?",
    ),
    options("", "model.loss.chunk=-1", "DINOLoss got chunk=-1"),
    options("", "model.data_preprocessor.mean=[1,2]", "MultiViewPreprocessor got mean=(1, 2)"),
    options("", "model.data_preprocessor.std=[0,0,0]", "MultiViewPreprocessor got std[0]=0"),
    options("", "model=dino", "model: got 'dino'; expected a dict with a type"),
    options("", "model=None", "model: it is missing, and this tool needs it"),
    options(
        "", "model.type=mmdino.Dino", "there is no model 'mmdino.Dino'; did you mean mmdino.DINO"
    ),
    options("", "model.type=mmdino.KNNMetric", "there is no model 'mmdino.KNNMetric'"),
    options("", "model.num_global_views=9", "DINO got 3 view(s)"),
]
HOOKS_AND_ENVIRONMENT = [
    options("", "'log_processor.mean_pattern=(('", "got '(('; expected a regular expression"),
    options("", "default_hooks.checkpoint.filename_tmpl=last.pth", "expected {} for the number"),
    options("", "model.predictor=yes", "model.predictor: got 'yes'; expected a dict"),
    options("", "default_hooks.logger.out_suffix=5", "out_suffix should be a string"),
    Row("", "train.py $tiny --launcher pytorch", "found no RANK, LOCAL_RANK, WORLD_SIZE"),
    Row("", "train.py $tiny --launcher slurm", "found no SLURM_PROCID"),
    options(
        "ugly",
        "default_hooks.ema_teacher.momentm=0.9",
        "EMATeacherHook has no 'momentm'; did you mean momentum?",
    ),
    options(
        "",
        "default_hooks.ema_teacher.momentum=0,9",
        "ema_teacher.momentum: got [0, 9]; expected a number",
    ),
    options("", "default_hooks.ema_techer=None", "default_hooks has no 'ema_techer'"),
    options(
        "silent",
        "default_hooks=None custom_hooks=None",
        "nothing updates its teacher and its center",
    ),
    options(
        "silent",
        "default_hooks.checkpoint.interval=0",
        "default_hooks.checkpoint.interval: got 0; expected a whole number of at least 1",
    ),
    options(
        "",
        "default_hooks.checkpoint.max_keep_ckpts=0",
        "max_keep_ckpts: got 0; expected a whole number of at least 1, or -1 for all",
    ),
    options(
        "",
        "default_hooks.checkpoint.save_best=auto default_hooks.checkpoint.rule=biggest",
        "rule must be greater, less or None, but got biggest",
    ),
    options(
        "",
        "default_hooks.throughput.priority=HIGHER",
        "priority: got 'HIGHER'; expected one of HIGHEST",
    ),
    options(
        "", "default_hooks.throughput.priority=1000", "priority: got 1000; expected one of HIGHEST"
    ),
    options(
        "",
        "default_hooks.throughput.interval=x",
        "The config has 1 mistake: default_hooks.throughput.interval: ThroughputHook",
    ),
    options("", "custom_hooks=EMAHook", "custom_hooks: got 'EMAHook'; expected a list of hooks"),
    options(
        "silent",
        "env_cfg.cudnn_bench=True",
        "env_cfg has no 'cudnn_bench'; did you mean cudnn_benchmark?",
    ),
    options(
        "",
        "env_cfg.mp_cfg.mp_start_method=thread",
        "mp_start_method: got 'thread'; expected one of",
    ),
    options(
        "ugly",
        "randomness.seed=abc",
        "randomness.seed: got 'abc'; expected a whole number from 0 to 2**32 - 1",
    ),
    options("", "randomness.seed=-1", "randomness.seed: got -1"),
    options("", "randomness=0", "randomness: got 0; expected a dict"),
    options("", "log_level=LOUD", "log_level: got 'LOUD'; expected one of 'DEBUG'"),
    options("", "log_level=[1]", "log_level: got [1]; expected one of 'DEBUG'"),
    options(
        "",
        "log_processor.window_size=0",
        "log_processor.window_size: got 0; expected a whole number of at least 1",
    ),
    options("", "default_scope=mmdet", "no project of that name is installed"),
    options(
        "",
        "default_scope=[mmseg]",
        "default_scope=['mmseg'], but no project of that name is installed",
    ),
    options("", "runner_type=3", "runner_type=3, which is not known"),
    options(
        "",
        "runner_type=FlexibleRunner strategy.type=FSDP",
        "there is no strategy 'FSDP'; did you mean FSDPStrategy?",
    ),
    options("", "compile=fast", "compile: got 'fast'; expected a dict"),
    options("", "visualizer.type=Tensorboard", "there is no visualizer 'Tensorboard'"),
    options(
        "ugly",
        "load_from=s3://bucket/x.pth",
        "'s3://bucket/x.pth' cannot be read: expected a path or an http(s) URL",
    ),
    options(
        "", "load_from=", "The checkpoint of load_from must be a path or an http(s) URL, got ''"
    ),
    options(
        "", "load_from=3", "The checkpoint of load_from must be a path or an http(s) URL, got 3"
    ),
    options("", "load_from=$tiny", "Name the checkpoint, such as work_dirs/dino_demo/epoch_12.pth"),
    options("", "load_from=$images", "is a folder without config.json"),
    options(
        "", "load_from=http://127.0.0.1:9/x.pth", "http://127.0.0.1:9/x.pth cannot be downloaded"
    ),
    options("security", "load_from=$root/evil.pth", "evil.pth asks to run code: posix.system"),
    options("", "resume=yes", "resume: got 'yes'; expected True or False"),
]
DATA = [
    options(
        "",
        "train_dataloader.dataset.data_root=5",
        "train_dataloader.dataset.data_root: got 5; expected a text",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.data_root=[$images]",
        "expected a text",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.data_root=$root/gray.png",
        "gray.png' is no folder",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.data_root=$root/no_images",
        "No image in",
        run="train.py $folder",
    ),
    options(
        "ugly",
        "train_dataloader.dataset.data_root=$root/broken train_dataloader.batch_size=1",
        "broken/cat/0.png is damaged, or no image",
        run="train.py $folder",
    ),
    options(
        "security",
        "train_dataloader.dataset.data_root=$root/bomb train_dataloader.batch_size=1",
        "bomb/cat/0.png has 100000 x 100000 pixels",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.every=0",
        "invalid every=0 of ImageFolder",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.fraction=10%",
        "dataset.fraction: got '10%'; expected a number",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.extensions=.png",
        "invalid extensions='.png' of ImageFolder: expected a list",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.ann_file=nothere.txt",
        "nothere.txt' does not exist",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.type=ImageFolder",
        "there is no dataset 'ImageFolder'; did you mean mmdino.ImageFolder?",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.color_type=greyscale",
        "color_type: got 'greyscale'; expected one of 'color'",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.color_type=grayscale",
        "need images of 3 channels, got 1",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.pipeline.0.imdecode_backend=pilow",
        "imdecode_backend: got 'pilow'; expected one of 'cv2'",
        run="train.py $folder",
    ),
    options(
        "ugly",
        "train_dataloader.dataset.data_root=$root/mixed",
        "cat/large.png (3, 40, 48) and $root/mixed/cat/small.png (3, 32, 32)",
        run="train.py $linear",
    ),
    options(
        "ugly",
        "val_dataloader.dataset.data_root=$root/mixed",
        "mixed/cat/small.png (3, 32, 32)",
        run="train.py $linear",
    ),
    options(
        "ugly",
        "val_dataloader.dataset.data_root=$root/mixed",
        "mixed/cat/small.png (3, 32, 32)",
        run="train.py $finetune",
    ),
    options(
        "", "train_dataloader.dataset.pipeline=[]", "gives no 'inputs'", run="train.py $linear"
    ),
    options(
        "",
        "train_dataloader.dataset.with_label=False",
        "train_dataloader.dataset (ImageFolder) has no labels",
        run="train.py $finetune",
    ),
    options(
        "",
        "val_dataloader.dataset.with_label=False",
        "Set val_dataloader.dataset.with_label=True",
        run="train.py $finetune",
    ),
    options(
        "",
        "model.head.num_classes=1",
        "has 2 classes, but the model has model.head.num_classes=1",
        run="train.py $linear",
    ),
    options("", "model.head.lrs=[-1]", "LinearProbeHead got lrs[0]=-1", run="train.py $linear"),
    options("", "model.head.lrs=high", "model.head.lrs: got 'high'", run="train.py $linear"),
    options(
        "",
        "model.head.in_channels=99",
        "LinearProbeHead has in_channels=99, but got features of shape (12,)",
        run="train.py $linear",
    ),
    options(
        "",
        "model.backbone.backbone.out_indices=[5]",
        "out_indices=[5]; it has 1 blocks",
        run="train.py $linear",
    ),
    options(
        "", "model.backbone.backbone.out_type=rawr", "did you mean 'raw'?", run="train.py $linear"
    ),
    options(
        "",
        "model.backbone.backbone.init_cfg.checkpoint=none.pth",
        "'none.pth' does not exist. Set init_cfg",
        run="train.py $linear",
    ),
    options(
        "",
        "model.backbone.backbone.init_cfg=5",
        "init_cfg: got 5; expected a dict",
        run="train.py $linear",
    ),
    options(
        "security",
        "model.backbone.backbone.init_cfg.checkpoint=$root/evil.pth",
        "asks to run code: posix.system",
        run="train.py $linear",
    ),
    options(
        "",
        "model.backbone.backbone.init_cfg.checkpoint=$root/gray.png",
        "is not a weight file",
        run="train.py $linear",
    ),
    options(
        "ugly",
        "model.backbone.backbone.arch.num_heads=3",
        "The ViT has 2 heads according to the file, but num_heads=3",
        run="train.py $linear",
    ),
    options(
        "",
        "val_evaluator.topk=[0]",
        "val_evaluator.topk: got [0]; expected whole numbers of at least 1",
        run="train.py $finetune",
    ),
    options(
        "",
        "val_evaluator.topk=[5]",
        "Top-5 accuracy is unavailable since the number of categories is 2",
        run="train.py $finetune",
    ),
    options(
        "",
        "optim_wrapper.paramwise_cfg.layer_decay=0.5",
        "did you mean layer_decay_rate",
        run="train.py $finetune",
    ),
    options(
        "",
        "optim_wrapper.paramwise_cfg.layer_decay_rate=2",
        "layer_decay_rate=2; it must be a finite number above 0",
        run="train.py $finetune",
    ),
    options(
        "",
        "model.head.loss.label_smooth_val=2",
        "label_smooth_val over [0, 1), but gets 2",
        run="train.py $finetune",
    ),
]
VALIDATION = [
    options("", "val_evaluator.k=ten", "val_evaluator.k: got 'ten'"),
    options("", "val_evaluator.k=[10,x]", "invalid k=(10, 'x') of k-NN"),
    options("", "val_evaluator.k=[]", "invalid k=() of k-NN", run="test.py $tiny $ckpt"),
    options(
        "",
        "val_evaluator.temperature=-0.0",
        "invalid temperature=-0.0 of k-NN",
        run="test.py $tiny $ckpt",
    ),
    options(
        "",
        "val_evaluator.type=Accuracy",
        "val_evaluator.k: Accuracy has no 'k'",
        run="test.py $tiny $ckpt",
    ),
    options("", "val_cfg.bank_dataloader.dataset.tset_mode=True", "did you mean test_mode?"),
    options(
        "",
        "val_cfg.bank_dataloader.batch_size=0",
        "val_cfg.bank_dataloader.batch_size: got 0; expected a whole number of at least 1",
    ),
    options(
        "", "val_cfg.bank_dataloader=train", "val_cfg.bank_dataloader: got 'train'; expected a dict"
    ),
    options("", "val_cfg.bank_dataloader=None", "val_cfg.bank_dataloader: got None"),
    options(
        "",
        "val_cfg.bank_dataloader.drop_last=True val_cfg.bank_dataloader.batch_size=3",
        "gave 6 of 8 images",
        run="test.py $tiny $ckpt",
    ),
    options(
        "",
        "val_cfg.bank_dataloader.dataset.with_label=False",
        "k-NN needs labels",
        run="test.py $folder $ckpt",
    ),
    options(
        "",
        "val_dataloader.dataset.with_label=False",
        "k-NN needs labels",
        run="test.py $folder $ckpt",
    ),
    options(
        "",
        "val_dataloader.dataset.data_root=$root/other_classes",
        "label 0 is 'cat' and 'catfish'",
        run="test.py $folder $ckpt",
    ),
    options(
        "",
        "val_dataloader.dataset.data_root=$root/empty_class",
        "contain no image: cat",
        run="test.py $folder $ckpt",
    ),
    options(
        "ugly",
        "val_dataloader.dataset.data_root=$root/one_broken",
        "one_broken/cat/a.png is damaged, or no image",
        run="test.py $folder $ckpt",
    ),
    options(
        "ugly",
        "val_cfg.bank_dataloader.dataset.data_root=$root/mixed",
        "mixed/cat/small.png (3, 32, 32)",
        run="test.py $folder $ckpt",
    ),
    options(
        "", "val_cfg.type=ValLoop", "val_cfg.bank_dataloader: ValLoop has no 'bank_dataloader'"
    ),
    options("", "val_evaluator=None", "val_evaluator: missing beside val_dataloader, val_cfg"),
    options(
        "",
        "val_cfg=None val_dataloader=None val_evaluator=None",
        "has no k-NN validation",
        run="test.py $tiny $ckpt",
    ),
    options(
        "silent",
        "model.backbone.arch.num_heads=3",
        "model.backbone.arch.num_heads is 3, 2 in the checkpoint",
        run="test.py $tiny $ckpt",
    ),
    options(
        "",
        "model.backbone.patch_size=16",
        "The checkpoint does not match the model",
        run="test.py $tiny $ckpt",
    ),
]
SHIPPED_CONFIGS = [
    options(
        "ugly",
        "optim_wrapper.optimizer.lr=abc",
        "optimizer.lr: got 'abc'",
        run="train.py $configs/dino_resnet50.py",
    ),
    options(
        "",
        "model.backbone.depth=fifty",
        "model.backbone.depth: got 'fifty'; expected a whole number",
        run="train.py $configs/dino_resnet50.py",
    ),
    options(
        "",
        "model.backbone.arch=deit-smal",
        "arch='deit-smal'; known are",
        run="train.py $configs/dino_vits16.py",
    ),
    options(
        "",
        "optim_wrapper.precision=half",
        "optim_wrapper.precision: got 'half'",
        run="train.py $configs/dino_vitl16_fsdp.py",
    ),
    options(
        "",
        "strategy.type=mmdino.FSDP",
        "strategy.type: there is no strategy 'mmdino.FSDP'",
        run="train.py $configs/dino_vitl16_fsdp.py",
    ),
    options(
        "",
        "model.head.num_class=10",
        "did you mean num_classes?",
        run="train.py $configs/linear/vits16_imagenet.py",
    ),
    options(
        "",
        "model.train_cfg.augments.0.alpah=1",
        "did you mean alpha?",
        run="train.py $configs/finetune/vits16_imagenet.py",
    ),
    options(
        "",
        "model.decode_head.num_classes=ten",
        "decode_head.num_classes: got 'ten'; expected a whole number of at least 1",
        run="train.py $configs/ade20k/vits16_linear_ade20k.py",
    ),
    options(
        "",
        "train_cfg.max_iters=0",
        "train_cfg.max_iters: got 0",
        run="train.py $configs/ade20k/resnet50_upernet_ade20k.py",
    ),
    options(
        "",
        "model.neck.in_chanels=1",
        "did you mean in_channels?",
        run="train.py $configs/camvid/vitt4_linear_camvid.py",
    ),
    options(
        "",
        "train_dataloader.dataset.data_root=nowhere",
        "No such file or directory: nowhere/images/training: check the path",
        run="train.py $configs/camvid/vitt4_linear_camvid.py",
    ),
]
CONFIG_TEXTS = [
    config("", "train_dataloader = [dict()]", "train_dataloader: got [{}]; expected a dict"),
    config(
        "", "model = dict(backbone=dict(type=''))", "model.backbone.type: got ''; expected a name"
    ),
    config(
        "", "model = dict(backbone=dict(type=5))", "model.backbone.type: got 5; expected a name"
    ),
    config("", "model = dict(backbone=dict(type=None))", "model.backbone.type: got None; expected"),
    config("", "model = dict(backbone=dict(type='Ви́T'))", "there is no model 'Ви́T'"),
    config(
        "", "param_scheduler = [dict(type='StepLR', step_size=0)]", "step_size: got 0; expected"
    ),
    config("", "val_evaluator = dict(_delete_=True, metrics=[])", "KNNValLoop needs val_evaluator"),
    config("", "model = {5: 3}", "model.5: DINO has no '5'"),
    config(
        "",
        pipeline(f"{CROPS}"),
        "A batch has no 'inputs', but ",
    ),
    config(
        "",
        pipeline(f"{CROPS}, {CROPS}, dict(type='mmdino.PackViews')"),
        "MultiCropTransform needs results['img'] to be a uint8 or uint16",
    ),
    config(
        "",
        pipeline("dict(type='mmdino.PackViews')"),
        "Training needs a list of views, got a Tensor",
    ),
    config(
        "",
        pipeline("None"),
        "transform must be a callable object or dict",
    ),
    config("", "custom_hooks = dict(type='mmdino.ThroughputHook')", "expected a list of hooks"),
    config(
        "",
        "param_scheduler = [[dict(type='mmdino.WarmupCosineLR', wramup=1)]]",
        "param_scheduler.0.0.wramup",
    ),
    config(
        "",
        "param_scheduler = [dict(type='CosineAnnealingLR', begin=5, end=2)]",
        "end should be larger than begin",
    ),
    config(
        "",
        "optim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.1, momentum=9))",
        "optimizer.momentum: got 9; expected a number from 0 to 1",
    ),
    config("", "model = 5", "model: got 5; expected a dict with a type"),
    config("", "model = dict(head=[1, 2])", "model.head: got [1, 2]; expected a dict"),
    config(
        "",
        "model = dict(head=dict(out_channels={16}))",
        "model.head.out_channels: got {16}; expected a whole number of at least 1",
    ),
    config("", "x = 1 / 0", "line 2: ZeroDivisionError: division by zero"),
    config("", "raise SystemExit(0)", "SystemExit: 0"),
    config("", "randomnes = dict(seed=1)", "did you mean randomness?"),
]
CONFIG_FILES = [
    Row("", "train.py none.py", "The config 'none.py' does not exist"),
    Row("ugly", "train.py $configs", "is a folder. Name one of the files in it"),
    Row("ugly", "train.py $config", "has no keys", config="# nothing\n"),
    Row("ugly", "train.py $config", "has an error of syntax in line 1", config="model = dict(\n"),
    Row(
        "ugly",
        "train.py $config",
        "nowhere.py', which does not exist. Correct its _base_",
        config="_base_ = ['nowhere.py']\n",
    ),
    Row("", "train.py $config", "is based on itself", config="_base_ = ['config.py']\n"),
    Row("", "train.py $config", "The _base_ of the config", config="_base_ = 5\n"),
    Row("", "train.py $ckpt", "ends in '.pth'; expected one of .py"),
    Row("", "test.py $ckpt $tiny", "ends in '.pth'; expected one of .py"),
    Row("", "test.py $tiny $tiny", "Name the checkpoint, such as"),
    Row("", "test.py $tiny ''", "The checkpoint must be a path or an http(s) URL, got ''"),
    Row("", "test.py $tiny none.pth", "The checkpoint 'none.pth' does not exist"),
    Row("", "test.py $tiny $images", "is a folder, not a file"),
    Row("silent", "test.py $tiny $root/nan.pth", "The checkpoint's weights are not finite"),
    Row("ugly", "test.py $tiny $root/no_weights.pth", "its state_dict is empty"),
    Row("", "test.py $linear $ckpt", "The checkpoint does not match the model"),
    Row("", "train.py $tiny --batchsize 3", "unrecognized arguments: --batchsize 3"),
    Row("", "train.py $tiny --launcher torch", "invalid choice: 'torch'"),
    Row("", "train.py $tiny --amp bf16", "invalid choice: 'bf16'"),
    Row(
        "",
        "train.py $tiny --cfg-options optim_wrapper.optimizer.lr 0.1",
        "expected KEY=VALUE without spaces around =",
    ),
    Row("", "train.py $tiny --cfg-options val_evaluator.k=[1,2", "Imbalanced brackets"),
    Row("", "train.py $tiny --cfg-options lr=0.1", "--cfg-options lr would change nothing"),
    Row("", "train.py $tiny --cfg-options modèle.head=1", "did you mean model?"),
    Row(
        "", "train.py $tiny --cfg-options log_level.x=1", "log_level is 'ERROR', which has no keys"
    ),
    Row(
        "ugly",
        "train.py $tiny --work-dir $root/text.pth",
        "is a file. Choose another with --work-dir",
    ),
    Row(
        "",
        "train.py $tiny --work-dir $root/text.pth/run",
        "is a file. Choose another with --work-dir",
    ),
    Row("ugly", "train.py $tiny --work-dir /proc/run", "cannot be written"),
    Row("", "train.py $tiny --work-dir ''", "--work-dir is empty"),
    Row("", "train.py $folder --work-dir $images", "lies in the data"),
    Row("", "train.py $folder --work-dir $images/runs/a", "lies in the data"),
    Row("", "train.py $tiny --resume", "There is nothing to resume in"),
    Row("", "train.py $tiny --resume none.pth", "The checkpoint 'none.pth' does not exist"),
    Row("security", "train.py $tiny --resume $root/evil.pth", "asks to run code: posix.system"),
    Row(
        "ugly",
        "train.py $tiny --resume $root/no_meta.pth",
        "it has no meta.epoch, meta.iter, message_hub, optimizer",
    ),
    Row("silent", "train.py $tiny --resume $root/flipped.pth", "does not match its checksum"),
    Row("", "train.py $tiny --resume $root/truncated.pth", "is corrupted or truncated"),
    Row(
        "silent", "train.py $tiny --resume $root/nan.pth", "The checkpoint's weights are not finite"
    ),
    Row(
        "silent",
        "train.py $tiny --resume $ckpt --cfg-options model.backbone.arch.num_heads=3",
        "num_heads is 3, 2 in the checkpoint",
    ),
    Row(
        "",
        f"{RESUME} train_dataloader.batch_size=2",
        "does not fit an epoch of 4 iterations",
    ),
    Row(
        "",
        f"{RESUME} train_dataloader.dataset.num_images=12",
        "does not fit an epoch of 3 iterations",
    ),
    Row(
        "ugly",
        "train.py $config --resume $ckpt",
        "has the state of AdamW, but the config has SGD",
        config=f"_base_ = ['$root/tiny.py']\n{SGD}\n",
    ),
]
BANKS = [
    Row("", "knn.py none none --k -5", "invalid k=[-5] of k-NN"),
    Row("", "knn.py $bank $queries --k ten", "invalid int value: 'ten'"),
    Row("silent", "knn.py $bank $queries --temperature inf", "invalid temperature=inf of k-NN"),
    Row("", "knn.py $bank $queries --temperature nan", "invalid temperature=nan of k-NN"),
    Row("", "knn.py $bank $bank", "are of the same images: each would find itself"),
    Row("", "knn.py $ckpt $bank", "Features cannot be in a file .pth"),
    Row("", "knn.py $images $bank", "There is no feature bank in"),
    Row("", "knn.py $out/a $out/b --checkpoint $ckpt --train $images", "give all three, or none"),
    Row("security", "knn.py $root/promising $queries", "promising is damaged: features.npy"),
    Row("security", "knn.py $root/pickled $queries", "pickled is damaged: features.npy"),
    Row("", "knn.py $root/no_json $queries", "no_json/bank.json is damaged"),
    Row(
        "silent",
        "knn.py $root/one_label $queries",
        "4 of 8 test images have labels that the bank lacks",
        code=0,
    ),
    Row("", "knn.py $bank $queries --k 99", "k 99 (lowered to 8)", code=0),
    Row(
        "silent",
        "test.py $tiny $ckpt --cfg-options val_evaluator.k=999",
        "k 999: lowered to 8",
        code=0,
    ),
    Row("", "knn_pixels.py $tiny --cfg-options val_evaluator.k=99", "k 99 (lowered to 8)", code=0),
    Row("", "knn_pixels.py $linear", "val_cfg has no bank_dataloader"),
    Row(
        "",
        "knn_pixels.py $tiny --cfg-options val_cfg=None val_dataloader=None val_evaluator=None",
        "val_cfg: it is missing, and this tool needs it",
    ),
    Row(
        "ugly",
        "knn_pixels.py $folder --cfg-options val_dataloader.dataset.data_root=$root/mixed",
        "mixed/cat/small.png (3, 32, 32)",
    ),
    Row("", "knn_pixels.py $tiny --work-dir x", "omit --launcher and --work-dir"),
    Row(
        "", "extract_features.py $ckpt $images $out/b --batch-size 0", "a batch size of at least 1"
    ),
    Row(
        "",
        "extract_features.py $ckpt $images $out/b --every 99 --size 32 --crop 32 --workers 0",
        "invalid every=99",
    ),
    Row(
        "",
        "extract_features.py $ckpt $images $out/b --size 16 --crop 32",
        "The crop of 32 pixels must be at least 1 and at most the size of 16",
    ),
    Row(
        "",
        "extract_features.py $ckpt $images $out/b --crop 30 --size 30 --workers 0",
        "no multiple of the network's patch of 8",
    ),
    Row("", "extract_features.py $ckpt $images $out/b --dtype bf16", "invalid choice: 'bf16'"),
    Row("", "extract_features.py $ckpt $images $out/b --fraction nan", "invalid fraction=nan"),
    Row(
        "",
        "extract_features.py $ckpt $images $out/b --size 99999999 --crop 32 --workers 0",
        "out of memory",
    ),
    Row("", "extract_features.py $images $ckpt $out/b", "is a folder without config.json"),
    Row("", "extract_features.py $tiny $images $out/b", "Name the checkpoint, such as"),
    Row("silent", "extract_features.py $root/nan.pth $images $out/b", "are not finite"),
    Row(
        "security",
        "extract_features.py $root/evil.pth $images $out/b",
        "asks to run code: posix.system",
    ),
    Row(
        "",
        "extract_features.py $root/empty.pth $images $out/b",
        "is not a weight file of torch or safetensors: it is empty",
    ),
    Row("ugly", "extract_features.py $root/no_weights.pth $images $out/b", "has no named tensors"),
    Row(
        "",
        "extract_features.py $ckpt $root/unlabelled $out/b --labels folders",
        "expected folder/class_name/image",
    ),
    Row("", f"{EXTRACT} $root/unlabelled $out/b.npz {EXTRACTION}", "no classes", code=0),
    Row("", f"{EXTRACT} none $out/b", "The images 'none' do not exist. Give a folder of images"),
    Row("", f"{EXTRACT} $images $out/b.csv", "expected .npz, .parquet, .faiss"),
    Row("", f"{EXTRACT} $root/gray.png $out/b", "gray.png is a file. Give a folder of images"),
    Row("", f"{EXTRACT} $root/unlabelled $out/b --labels none --fraction 0.5", "leaves out the"),
    Row("", f"{EXTRACT} $root/no_images $out/b", "No image in"),
    Row(
        "",
        "extract_features.py $ckpt $images $images --size 32 --crop 32 --workers 0",
        "lies in the image folder",
    ),
    Row(
        "",
        "extract_features.py $ckpt $images $root/others --size 32 --crop 32 --workers 0",
        "holds files that are no feature bank",
    ),
    Row(
        "",
        "extract_features.py $ckpt $images $bank --size 40 --crop 32 --workers 0",
        "size is 32 there, 40 now",
    ),
    Row(
        "",
        "extract_features.py $ckpt $images /proc/bank --size 32 --crop 32 --workers 0",
        "No such file or directory: /proc/bank",
    ),
    Row(
        "ugly",
        "extract_features.py $ckpt $root/broken $out/b --size 32 --crop 32 --workers 0",
        "broken/cat/0.png is damaged, or no image",
    ),
    Row(
        "silent",
        "extract_features.py $ckpt $root/links $out/b --size 32 --crop 32 --workers 0",
        "gone.png",
        code=0,
    ),
    Row(
        "", "logistic_regression.py $bank $queries --c 0", "invalid C=(0.0,) of logistic regression"
    ),
    Row(
        "",
        "logistic_regression.py $bank $queries --c inf",
        "invalid C=(inf,) of logistic regression",
    ),
    Row(
        "",
        "logistic_regression.py $bank $queries --folds 1",
        "invalid folds=1 of logistic regression",
    ),
    Row("", "logistic_regression.py $bank $queries --fraction -0.0", "invalid fraction=-0.0"),
    Row(
        "",
        "logistic_regression.py $bank $queries --fraction 0.5 --fraction-seed -3",
        "invalid seed=-3",
    ),
]
FOLDERS = [
    Row(
        "ugly",
        f"{EXTRACT} $root/strange $out/b {EXTRACTION}",
        "\\udcff.png is damaged, or no image",
        code=0,
    ),
    Row("ugly", f"{EXTRACT} $root/zero $out/b {EXTRACTION}", "zero/cat/1.png is empty", code=0),
    Row("ugly", f"{EXTRACT} $root/loop $out/b {EXTRACTION}", "self.png", code=0),
]
FINISHED = [
    Row("silent", "train.py $tiny --resume $ckpt --cfg-options log_level=WARNING", NOTHING, code=0),
    Row("", f"{RESUME.replace('=3', '=1')} log_level=WARNING", NOTHING, code=0),
]
ATTENTION = [
    Row("", "attention_jaccard.py $ckpt", "one of the arguments --voc --drawn is required"),
    Row("", "attention_jaccard.py $ckpt --drawn 0", "num_images must be at least 1, got 0"),
    Row("", "attention_jaccard.py $ckpt --drawn few", "invalid int value: 'few'"),
    Row(
        "",
        "attention_jaccard.py $ckpt --voc $images",
        "ImageSets/Segmentation/val.txt does not exist",
    ),
    Row(
        "",
        "attention_jaccard.py $ckpt --voc $images --limit 0",
        "--limit must be at least 1, not 0",
    ),
    Row("", "attention_jaccard.py $ckpt --drawn 2 --fraction 0", "invalid fraction=0.0"),
    Row("", "attention_jaccard.py $ckpt --drawn 2 --size 0", "less than a patch of 8"),
    Row("silent", "attention_jaccard.py $root/nan.pth --drawn 2", "are not finite"),
    Row(
        "security",
        "attention_jaccard.py $root/evil.pth --drawn 2",
        "asks to run code: posix.system",
    ),
    Row(
        "", "visualize_attention.py $ckpt $root/alpha.png", "give --out DIR for one file per image"
    ),
    Row(
        "",
        "visualize_attention.py $ckpt none.png --out $out",
        "The input 'none.png' does not exist",
    ),
    Row("", "visualize_attention.py $root/alpha.png $ckpt --out $out", "is not a weight file"),
    Row(
        "ugly",
        "visualize_attention.py $ckpt $root/empty.pth --out $out",
        "cannot be read as an image: it is empty",
    ),
    Row(
        "security", "visualize_attention.py $ckpt $root/bomb/cat/0.png --out $out", "bomb/cat/0.png"
    ),
    Row(
        "",
        "visualize_attention.py $ckpt $root/alpha.png --out $out --size 10000000",
        "Give a smaller size",
    ),
    Row(
        "",
        "visualize_attention.py $ckpt $root/alpha.png --out $out --fraction nan",
        "invalid fraction=nan",
    ),
    Row(
        "",
        "visualize_attention.py $ckpt $root/alpha.png --out $out --heads 7",
        "There is no head 7: the network has 2 heads",
    ),
    Row(
        "",
        "visualize_attention.py $ckpt $root/alpha.png --out $out --heads -1",
        "There is no head -1",
    ),
    Row(
        "",
        "visualize_attention.py $ckpt $root/alpha.png --out $out --format gif",
        "an animation needs several",
    ),
    Row(
        "",
        "visualize_attention.py $ckpt $images/cat --out $out --format gif --fps nan",
        "--fps must be within 0.01 and 1000, not nan",
    ),
    Row(
        "",
        "visualize_attention.py $ckpt $root/mixed/cat --out $out --format gif",
        "All frames of an animation must have the same size",
    ),
    Row(
        "",
        "visualize_attention.py $ckpt $root/alpha.png --out $root/text.pth",
        "text.pth: take another path, or remove it",
    ),
    Row(
        "",
        "visualize_attention.py $ckpt $root/alpha.png --figure $root/alpha.png",
        "would overwrite an input",
    ),
    Row(
        "",
        "visualize_attention.py $ckpt $root/alpha.png --figure $out/f.xyz",
        "its suffix must be one of",
    ),
    Row(
        "silent",
        "visualize_attention.py $root/nan.pth $root/alpha.png --out $out",
        "are not finite",
    ),
    Row(
        "security",
        "visualize_attention.py $root/evil.pth $root/alpha.png --out $out",
        "asks to run code: posix.system",
    ),
]
PCA = [
    Row("", "pca.py $ckpt $root/alpha.png", "give --figure FILE for one figure, or --out DIR"),
    Row("", "pca.py $ckpt none.png --out $out", "The input 'none.png' does not exist"),
    Row("", "pca.py $ckpt $root/no_images --out $out", "has no image with one of the suffixes"),
    Row("", "pca.py $root/alpha.png $ckpt --out $out", "is not a weight file"),
    Row("", "pca.py $ckpt $root/empty.pth --out $out", "cannot be read as an image: it is empty"),
    Row("security", "pca.py $ckpt $root/bomb/cat/0.png --out $out", "bomb/cat/0.png"),
    Row("security", "pca.py $root/evil.pth $root/alpha.png --out $out", "asks to run code: posix"),
    Row("silent", "pca.py $root/nan.pth $root/alpha.png --out $out", "are not finite"),
    Row("", "pca.py $ckpt $root/alpha.png --out $out --size 8", "have 1 patch(es) of 12 channels"),
    Row("", "pca.py $ckpt $root/alpha.png --out $out --size 7", "less than a patch of 8"),
    Row("", "pca.py $ckpt $root/alpha.png --out $out --size 10000000", "Give a smaller size"),
    Row("", "pca.py $ckpt $root/alpha.png --out $out --format mp4", "an animation needs several"),
    Row("", "pca.py $ckpt $root/alpha.png --out $out --fps nan", "--fps must be within 0.01 and"),
    Row(
        "", "pca.py $ckpt $images/cat --out $out --format png --fps 5", "--fps is for an animation"
    ),
    Row("", "pca.py $ckpt $root/alpha.png --figure $out/f.xyz", "its suffix must be one of"),
    Row("", "pca.py $ckpt $root/alpha.png --figure $root/alpha.png", "would overwrite an input"),
    Row("", "pca.py $ckpt $root/alpha.png --figure $out/f.png --format gif", "--format is of the"),
    Row("", "pca.py $ckpt $root/alpha.png --out $out --foreground left", "invalid choice: 'left'"),
    Row("", "pca.py $ckpt $root/alpha.png --out $out --threshold 1", "is that of --foreground"),
    Row(
        "",
        "pca.py $ckpt $root/alpha.png --out $out --foreground --threshold nan",
        "threshold=nan; it must be a finite number",
    ),
    Row(
        "",
        "pca.py $ckpt $root/alpha.png --out $out --foreground --threshold 50",
        "The foreground has 0 patch(es)",
    ),
    Row("", "pca.py $ckpt $root/alpha.png --out $out --fit 0", "--fit must be at least 1, not 0"),
    Row("", "pca.py $ckpt $root/alpha.png --out $out --every 0", "--every must be at least 1"),
    Row("", "pca.py $ckpt $root/alpha.png --out $root/text.pth", "text.pth: take another path"),
    Row(
        "",
        "pca.py $ckpt $root/mixed/cat --out $out --format gif",
        "All frames must have the same size",
    ),
    Row(
        "",
        "pca.py $ckpt $root/alpha.png $root/alpha.png --out $out",
        "Two inputs have the same name",
    ),
]
DIAGNOSE = [
    Row("", "diagnose.py $ckpt", "the following arguments are required: IMAGES"),
    Row("", "diagnose.py $ckpt none --out $out/d", "The images 'none' do not exist"),
    Row("ugly", "diagnose.py $ckpt $root/no_images --out $out/d", "has no image with one of"),
    Row("", "diagnose.py $ckpt $root/broken --out $out/d", "cannot be read as an image"),
    Row("", "diagnose.py none.pth $images --out $out/d", "The weight file 'none.pth' does not"),
    Row("security", "diagnose.py $root/evil.pth $images --out $out/d", "asks to run code: posix"),
    Row("silent", "diagnose.py $root/nan.pth $images --out $out/d", "are not finite"),
    Row("", "diagnose.py $ckpt $ckpt $images --out $out/d", "would have the name 'run/epoch_2'"),
    Row("", "diagnose.py $ckpt $images --names a b --out $out/d", "2 name(s) were given for 1"),
    Row("", "diagnose.py $ckpt $images --size 30 --out $out/d", "multiples of 8"),
    Row("", "diagnose.py $ckpt $images --size 8 8 8 --out $out/d", "takes one or two numbers"),
    Row("", "diagnose.py $ckpt $images --size 0 --out $out/d", "numbers of at least 1, not 0"),
    Row("", "diagnose.py $ckpt $images --images 0 --out $out/d", "--images must be at least 1"),
    Row("", "diagnose.py $ckpt $images --batch 0 --out $out/d", "--batch must be at least 1"),
    Row("", "diagnose.py $ckpt $root/wide --size 8 32 --images 1 --out $out/d", "", code=0),
    Row("", "diagnose.py $ckpt $images --out $root/text.pth", "is a file"),
]
REPORT = [
    Row("", "report.py", "the following arguments are required: work_dir"),
    Row("", "report.py none", "The work dir 'none' does not exist: give the folder of a training"),
    Row("", "report.py $ckpt", "epoch_2.pth' is a file: give the folder of a training run"),
    Row("", "report.py $images", "is no work dir of a training run: it has neither training.json"),
    Row("", "report.py $root/run --images none", "The images 'none' do not exist"),
    Row("", "report.py $root/run --images $root/no_images", "has no image with one of"),
    Row("", "report.py $root/run --images $root/broken", "cannot be read as an image"),
    Row("", "report.py $root/run --images $images --no-images", "none: leave one out"),
    Row("", "report.py $root/run --out /proc/no/r.html", "of --out '/proc/no' cannot be written"),
    Row("", "report.py $root/run --pool 1", "--pool must be at least 2, not 1"),
    Row(
        "", "report.py $root/run --out $images", "is a folder: give a file, such as $images/report"
    ),
]
LANDSCAPE = [
    Row("", "landscape.py $finetune --out $out/l", "the following arguments are required: config"),
    Row("", "landscape.py $ckpt none.py --out $out/l", "none.py"),
    Row("ugly", "landscape.py $ckpt $tiny --out $out/l", "has no loss on labelled images"),
    Row("", "landscape.py $ckpt $finetune --out $out/l", "does not fit the config's ImageClass"),
    Row("", "landscape.py none.pth $finetune --out $out/l", "The weight file 'none.pth' does not"),
    Row(
        "security", "landscape.py $root/evil.pth $finetune --out $out/l", "asks to run code: posix"
    ),
    Row("", "landscape.py $ckpt $finetune --points 4 --out $out/l", "--points must be odd"),
    Row(
        "", "landscape.py $ckpt $finetune --span nan --out $out/l", "span=nan; it must be a finite"
    ),
    Row("", "landscape.py $ckpt $finetune --images 0 --out $out/l", "images=0; it must be a whole"),
    Row("", "landscape.py $ckpt $finetune --within -1 --out $out/l", "within=-1.0; it must be a"),
    Row(
        "",
        "landscape.py $ckpt $finetune --no-plane --lines 0 --out $out/l",
        "leaves nothing to evaluate",
    ),
    Row(
        "",
        "landscape.py $ckpt $finetune --models $finetune $tiny --out $out/l",
        "takes one config for each of the 1 checkpoint(s), not 2",
    ),
]
CONVERTERS = [
    Row(
        "",
        "model_converters/convert.py $ckpt $out/x.pth",
        "the following arguments are required: --to",
    ),
    Row(
        "",
        "model_converters/convert.py $ckpt $out/x.txt --to mmdino",
        "expected a file ending in .pth or .safetensors",
    ),
    Row("", "model_converters/convert.py $ckpt $ckpt --to mmdino", "is the source too"),
    Row("", "model_converters/convert.py $ckpt $out/x.pth --to huggingface", "expected a folder"),
    Row(
        "",
        "model_converters/convert.py $ckpt $out/x.pth --to mmdino --prefix nope.",
        "begins with 'nope.'",
    ),
    Row("", "model_converters/convert.py $ckpt $out/x.pth --to timm --full", "Leave out --full"),
    Row(
        "",
        "model_converters/convert.py $ckpt $out/x.pth --to mmdino --num-heads 3",
        "num_heads=3 was given",
    ),
    Row(
        "silent",
        "model_converters/convert.py $root/nan.pth $out/x.pth --to mmdino",
        "are not finite",
    ),
    Row(
        "silent",
        "model_converters/convert.py $root/nan.pth $out/x.pth --to authors --full",
        "are not finite",
    ),
    Row(
        "security",
        "model_converters/convert.py $root/evil.pth $out/x.pth --to mmdino",
        "asks to run code: posix.system",
    ),
    Row(
        "",
        "model_converters/convert.py $root/gray.png $out/x.pth --to mmdino",
        "Name the checkpoint",
    ),
    Row("", "model_converters/convert.py $out/x.pth $ckpt --to mmdino", "does not exist"),
    Row(
        "",
        "model_converters/convert.py $ckpt $root/text.pth/x.pth --to mmdino",
        "text.pth: take another path, or remove it",
    ),
    Row(
        "ugly",
        "model_converters/convert.py $root/no_weights.pth $out/x.pth --to mmdino",
        "has no named tensors",
    ),
    Row("silent", "model_converters/extract.py $root/nan.pth $out/x.pth", "are not finite"),
    Row(
        "",
        "model_converters/extract.py $root/truncated.pth $out/x.pth",
        "is corrupted or truncated",
    ),
    Row(
        "",
        "model_converters/extract.py $ckpt $out/x.onnx",
        "expected a file ending in .pth or .safetensors",
    ),
    Row("", "model_converters/export_onnx.py $ckpt $out/x.pth", "expected a file ending in .onnx"),
    Row(
        "",
        "model_converters/export_onnx.py $ckpt $out/x.onnx --size 30",
        "expected multiples of the patch size (8, 8)",
    ),
    Row("", "model_converters/export_onnx.py $ckpt $out/x.onnx --size 0", "invalid --size [0]"),
    Row(
        "",
        "model_converters/export_onnx.py $ckpt $out/x.onnx --size 32 --tolerance nan",
        "invalid --tolerance nan",
    ),
    Row(
        "silent",
        "model_converters/export_onnx.py $root/nan.pth $out/x.onnx --size 32",
        "are not finite",
    ),
]
BENCHMARKS = [
    Row("", "launch_ranks.py", "the following arguments are required: training_script"),
    Row("", "benchmarks/step.py --rounds 0", "'0' given, but a whole number of 1 or more expected"),
    Row("", "benchmarks/step.py --device tpu", "invalid --device tpu"),
    Row("", "benchmarks/step.py --threads 0 --smoke", "invalid --threads 0"),
    Row("", "benchmarks/step.py --processor-time --smoke", "expected --threads 1 and --device cpu"),
    Row("", "benchmarks/step.py --arch resnet50", "unknown --arch 'resnet50'"),
    Row("", "benchmarks/step.py --json $images", "is a folder, or would lie in a file"),
    Row(
        "",
        "benchmarks/step.py --figure $out/f.gif",
        "a file ending in .jpg, .pdf, .png, .svg expected",
    ),
    Row("", "benchmarks/loss.py --prototypes 1.5", "'1.5' given, but a whole number"),
    Row("", "benchmarks/ema.py --device cpu:x", "invalid --device cpu:x"),
    Row("", "benchmarks/memory_format.py --depth 51", "invalid choice: 51"),
    Row("", "benchmarks/runner_overhead.py --history -1", "'-1' given, but a whole number of 0"),
    Row("", "benchmarks/knn.py --k 0", "'0' given, but a whole number of 1 or more expected"),
    Row("", "benchmarks/views.py --count 0", "invalid --count 0"),
    Row(
        "", "benchmarks/views.py --images $root/no_images", "has no image with one of the suffixes"
    ),
    Row(
        "",
        "benchmarks/views.py --images $root/broken/cat",
        "cannot be read, such as $root/broken/cat/0.png",
    ),
    Row("", "benchmarks/pipeline.py --images none", "The folder 'none' does not exist"),
    Row(
        "",
        "benchmarks/pipeline.py --images $root/broken/cat",
        "cannot be read, such as $root/broken/cat/0.png",
    ),
    Row("", "benchmarks/pipeline.py --seconds nan", "--seconds nan: expected"),
    Row("", "benchmarks/pipeline.py --seconds inf", "--seconds inf: expected"),
    Row("", "benchmarks/end_to_end.py --seconds inf", "--seconds inf: expected"),
    Row("", "benchmarks/small_images.py --images none", "The image folder 'none' does not exist"),
    Row("", "benchmarks/small_images.py --device cuda", "the time measured is the processor's"),
    Row("", "benchmarks/small_images_knn.py none.py", "none.py"),
    Row("", "benchmarks/end_to_end.py --batch 1 2 --workers 1 2 --figure $out/f.png", "not both"),
]
SEARCH = "search.py $bank"
SEARCHES = [
    Row("", SEARCH, "give a QUERY to search for, or --duplicates"),
    Row("", f"{SEARCH} $images --duplicates", "leave out QUERY"),
    Row("", f"{SEARCH} $images --threshold 0.9", "are for --duplicates"),
    Row("", f"{SEARCH} $images --k 0", "--k must be at least 1, not 0"),
    Row("", f"{SEARCH} none.png", "The query none.png does not exist"),
    Row("", f"{SEARCH} $root/no_images", "There is no image in the folder"),
    Row("", f"{SEARCH} $tiny", "tiny.py is damaged, or no image"),
    Row("", f"{SEARCH} $root/gray.png --figure found.pdf", "its suffix must be one of .jpg"),
    Row("", f"{SEARCH} $root/gray.png --k 99", "k 99 is lowered to 8", code=0),
    Row("", f"{SEARCH} $root/gray.png --images none", "are not in none", code=0),
    Row("", f"{SEARCH} $root/gray.png --checkpoint none.pth", "Say where it is with --checkpoint"),
    Row("", f"{SEARCH} $root/gray.png --checkpoint $root/nan.pth", "are not finite"),
    Row("", "search.py $root/unnamed $root/gray.png", "has no names of its images"),
    Row("", "search.py none $root/gray.png", "There is no feature bank in none"),
    Row("", "search.py none.npz $root/gray.png", "There is no feature bank none.npz"),
    Row("", f"{SEARCH} $root/gray.png --csv $images", "--csv $images is a folder. Give a file"),
    Row("", f"{SEARCH} $root/gray.png --json /proc/no/f.json", "--json '/proc/no' cannot be writ"),
    Row("", f"{SEARCH} --duplicates --figure $tiny/f.jpg", "--figure '$tiny' cannot be made"),
    Row("", f"{SEARCH} --duplicates --threshold 2", "threshold=2.0; it must be"),
    Row("", f"{SEARCH} --duplicates --calibration none", "none has no report.json"),
]
DEDUP = "curate.py dedup $curated $out/c"
CURATION = [
    Row("", "curate.py", "the following arguments are required: COMMAND"),
    Row(
        "", f"curate.py embed $ckpt none $out/b {EXTRACTION}", "image folder 'none' does not exist"
    ),
    Row("", f"curate.py embed $ckpt $root/no_images $out/b {EXTRACTION}", "No image in"),
    Row("", f"curate.py embed none.pth $images $out/b {EXTRACTION}", "none.pth"),
    Row("", f"curate.py embed $ckpt $images $images/b {EXTRACTION}", "lies in the image folder"),
    Row("", f"curate.py embed $ckpt $images $images {EXTRACTION}", "lies in the image folder"),
    Row("", f"curate.py embed $ckpt $images $ckpt {EXTRACTION}", "is a file. Give a folder"),
    Row("", f"curate.py embed $ckpt $images $curated {EXTRACTION}", "made with other settings"),
    Row(
        "",
        f"curate.py embed $ckpt $images $out/b --list none.txt {EXTRACTION}",
        "The list of images 'none.txt' does not exist",
    ),
    Row(
        "",
        f"curate.py embed $ckpt $images $out/b --list $tiny {EXTRACTION}",
        "of the list '$tiny' are not in '$images'",
    ),
    Row(
        "", "curate.py embed pixels $images $out/b --crop 30 --size 30", "a multiple of 16, not 30"
    ),
    Row("", f"curate.py calibrate pixels none $out/c {EXTRACTION}", "'none' does not exist"),
    Row("", f"curate.py calibrate pixels $images $images/c {EXTRACTION}", "lies in the image"),
    Row("", f"curate.py calibrate pixels $images $out/c --images 0 {EXTRACTION}", "images=0; it"),
    Row("", f"curate.py calibrate pixels $images $out/c --precision 2 {EXTRACTION}", "at most 1"),
    Row("", DEDUP, "one of the arguments --threshold --calibration is required"),
    Row("", f"{DEDUP} --threshold 0.6 --calibration x", "not allowed with argument"),
    Row("", f"{DEDUP} --threshold -1", "threshold=-1.0; it must be a finite number above -1"),
    Row("", f"{DEDUP} --threshold 1.5", "threshold=1.5; it must be a finite number above -1"),
    Row("", f"{DEDUP} --threshold nan", "threshold=nan; it must be a finite number"),
    Row("", f"{DEDUP} --threshold 0.9 --against-threshold 2", "evaluation threshold=2.0; it must"),
    Row("", f"{DEDUP} --threshold 0.9 --neighbours 0", "neighbours=0; it must be a whole number"),
    Row("", f"{DEDUP} --threshold 0.99999 --neighbours 99", "99 neighbours are lowered to", code=0),
    Row("", f"{DEDUP} --threshold 0.9 --search fast", "invalid choice: 'fast'"),
    Row(
        "", f"{DEDUP} --threshold 0.9 --against $root/curated_vit", "cannot be compared: widths 768"
    ),
    Row("", f"{DEDUP} --threshold 0.9 --list none.txt", "'none.txt' does not exist"),
    Row("", f"{DEDUP} --threshold 0.9 --list $tiny", "images of the list '$tiny' are not in"),
    Row("", "curate.py dedup $curated /proc/no --threshold 0.9", "'/proc/no' cannot be written"),
    Row("", "curate.py retrieve $curated $curated $tiny/no", "cannot be made: '$tiny' is a file"),
    Row(
        "",
        "curate.py balance $curated /proc/no --clusters 2 --images 2",
        "output folder '/proc/no' cannot be written",
    ),
    Row("", f"curate.py calibrate pixels $images /proc/no {EXTRACTION}", "cannot be written"),
    Row("", f"{DEDUP} --calibration none", "none has no report.json of a calibration"),
    Row("", "curate.py dedup $curated $images/c --threshold 0.9", "lies in the image folder"),
    Row("", "curate.py dedup $curated $ckpt --threshold 0.9", "is a file. Give a folder"),
    Row("", "curate.py dedup none $out/c --threshold 0.9", "There is no feature bank in none"),
    Row("", "curate.py dedup $root/unnamed $out/c --threshold 0.9", "has no list of its images"),
    Row(
        "",
        "curate.py dedup $curated $out/c --threshold 0.9 --against $curated",
        "All 8 images would be dropped",
    ),
    Row(
        "",
        "curate.py retrieve $curated $root/curated_vit $out/c",
        "widths 768 and 12",
    ),
    Row(
        "",
        "curate.py retrieve $curated $curated $out/c --per-seed 99",
        "the 99 nearest cannot be taken",
    ),
    Row("", "curate.py retrieve $curated $curated $out/c --per-seed 0", "per_seed=0; it must be"),
    Row(
        "",
        "curate.py retrieve $curated $curated $out/c --clusters 99",
        "which cannot make 99 clusters",
    ),
    Row(
        "",
        "curate.py retrieve $curated $curated $out/c --clusters 2 --min-seeds 99",
        "No cluster with images holds 99",
    ),
    Row(
        "",
        "curate.py balance $curated $out/c --clusters 99 --images 2",
        "which cannot make 99 clusters",
    ),
    Row(
        "",
        "curate.py balance $curated $out/c --clusters 2 --images 99",
        "99 images cannot be drawn without repetition",
    ),
    Row("", "curate.py balance $curated $out/c --clusters 0 --images 2", "clusters=0; it must be"),
    options(
        "",
        "train_dataloader.dataset.list=none.txt",
        "The list of images 'none.txt' does not exist",
        run="train.py $folder",
    ),
    options(
        "",
        "train_dataloader.dataset.list=$tiny",
        "of the list '$tiny' are not in",
        run="train.py $folder",
    ),
    Row("", "benchmarks/curate.py --images 0", "'0' given, but a whole number of 1 or more"),
]
COMPARISONS = [
    Row("", "compare.py", "There is nothing to compare: name configs, or add --run NAME CONFIG"),
    Row("", "compare.py none.py", "none: The config 'none.py' does not exist"),
    Row("", "compare.py $tiny --run", "argument --run: expected at least one argument"),
    Row("", "compare.py --run a", "--run a: expected --run NAME CONFIG [KEY=VALUE ...]"),
    Row("", "compare.py $tiny $tiny", "Two runs have the name 'tiny'"),
    Row("", "compare.py $tiny --run tiny $tiny", "Two runs have the name 'tiny'"),
    Row("", "compare.py --run ../a $tiny", "The run's name '../a' cannot be used"),
    Row("", "compare.py --run a $tiny lr", "the options of a: lr: expected KEY=VALUE"),
    Row("", "compare.py --run a $tiny lr=1", "a: --cfg-options lr would change nothing"),
    Row("", "compare.py $tiny --cfg-options model.hed=1", "DINO has no 'hed'; did you mean head?"),
    Row("", "compare.py $tiny --images 8 --epochs 1", "given by --images and --epochs: choose one"),
    Row("", "compare.py $tiny --images 7", "--images 7 is less than an epoch of 8 images"),
    Row("", "compare.py $tiny --images 0", "images=0; it must be a whole number at least 1"),
    Row("", "compare.py $tiny --epochs two", "argument --epochs: invalid int value: 'two'"),
    Row("", "compare.py $tiny --minutes nan", "minutes=nan; it must be a finite number above 0"),
    Row("", "compare.py $tiny --seeds one", "argument --seeds: invalid int value: 'one'"),
    Row("", "compare.py $tiny --seeds -1", "seeds=-1; it must be a whole number at least 0"),
    Row("", "compare.py $tiny --seeds 1 1", "--seeds has 1 more than once"),
    Row("", "compare.py $tiny --jobs 0", "jobs=0; it must be a whole number at least 1"),
    Row("", "compare.py $tiny --linear-c 0", "linear-c=0.0; it must be a finite number above 0"),
    Row("", "compare.py $tiny --out $tiny", "cannot be made: '$tiny' is a file"),
    Row("", "compare.py $tiny --out ''", "--out is empty: name a folder"),
    Row("", "compare.py $folder --out $images", "lies in the data, '$images'"),
    Row("", "compare.py $linear", "$linear has no k-NN validation"),
    Row(
        "",
        "compare.py $tiny $config",
        "has no k-NN validation",
        '_base_ = ["$root/tiny.py"]\nval_cfg = val_dataloader = val_evaluator = None\n',
    ),
    Row(
        "",
        "compare.py $tiny $folder",
        "not validated in the same way, so their k-NN accuracies cannot be compared",
    ),
    Row(
        "",
        "compare.py $tiny --run b $tiny val_evaluator.k=3",
        "cannot be compared: val_evaluator.k is 4 in tiny, 3 in b",
    ),
    Row(
        "",
        "compare.py $tiny --epochs 2 --cfg-options param_scheduler.0.warmup=3",
        "tiny: The config has 1 mistake: param_scheduler.0.warmup: 3 epochs of a run of 2",
    ),
]

RETRIEVAL = "eval_retrieval.py $ckpt $sets --out $out/r --workers 0"
COPYDAYS = "eval_copy.py $ckpt --out $out/c --size 32 --workers 0 --copydays $sets"
PAIRS = "eval_copy.py $ckpt --out $out/c --size 32 --workers 0 --queries $sets/queries"
VIDEO = "eval_video.py $ckpt $sets --out $out/v --size 48"
EVALUATIONS = [
    Row("", "eval_retrieval.py $ckpt $sets", "the following arguments are required: --out"),
    Row("", "eval_retrieval.py none.pth $sets --out $out/r", "'none.pth' does not exist"),
    Row("", "eval_retrieval.py $ckpt none --out $out/r", "none/roxford5k/gnd_roxford5k.pkl does"),
    Row("", "eval_retrieval.py $ckpt $sets --out $tiny", "$tiny"),
    Row("", f"{RETRIEVAL} --dataset rparis6k", "gnd_rparis6k.pkl does not exist. The layout is"),
    Row("", f"{RETRIEVAL} --dataset no_image", "christ_church_000179.jpg does not exist of 4"),
    Row("", f"{RETRIEVAL} --dataset broken_image", "_query.jpg cannot be read as an image"),
    Row("", f"{RETRIEVAL} --dataset no_boxes --crop-queries", "no bounding box (bbx) of 2"),
    Row("", f"{RETRIEVAL} --dataset old_kind", "gnd[0] lacks easy, hard or junk"),
    Row("", f"{RETRIEVAL} --dataset cut_short", "cannot be read as a pickle"),
    Row("", f"{RETRIEVAL} --dataset evil", "asks for posix.system when it is loaded"),
    Row("", f"{RETRIEVAL} --size 0", "size=0; it must be a whole number at least 1"),
    Row("", f"{RETRIEVAL} --size large", "argument --size: invalid int value: 'large'"),
    Row("", f"{RETRIEVAL} --size 12 --multi-scale", "but both sides must be at least 16"),
    Row("", f"{RETRIEVAL} --ks 0", "invalid ks=[0]: expected whole numbers of at least 1"),
    Row("", f"{RETRIEVAL} --workers -1", "0 or more workers"),
    Row("", f"{RETRIEVAL} --num-heads 5", "The ViT has 2 heads according to"),
    Row("", "eval_copy.py $ckpt --out $out/c", "give --copydays DIR, or all of --queries"),
    Row("", f"{PAIRS} --references $sets", "give --copydays DIR, or all of --queries"),
    Row("", f"{COPYDAYS}/copydays --queries $sets", "--copydays does not go with --queries"),
    Row("", f"{COPYDAYS}/none", "none/original does not exist. The layout is"),
    Row("", f"{COPYDAYS}/bare", "bare has no block of copies. The layout is"),
    Row("", f"{COPYDAYS}/odd", "999900.jpg is a copy of no image"),
    Row("", f"{COPYDAYS}/copydays --blocks crops/99", "crops/99' does not exist"),
    Row("", f"{COPYDAYS}/copydays --distractors none", "'none' does not exist"),
    Row("", f"{COPYDAYS}/copydays --max-distractors 3", "--max-distractors is for --distractors"),
    Row("", f"{COPYDAYS}/copydays --whitening $root/no_images", "no image with one of the"),
    Row("", f"{COPYDAYS}/copydays --size 30", "--size 30 is no multiple of the network's patch"),
    Row("", f"{COPYDAYS}/copydays --batch-size 0", "batch_size=0; it must be a whole number"),
    Row(
        "",
        f"{COPYDAYS}/copydays --distractors $sets/others --max-distractors 0",
        "max_distractors=0; it must be a whole number at least 1",
    ),
    Row(
        "",
        f"{PAIRS} --references $sets/references --ground-truth none.csv",
        "The ground truth 'none.csv' does not exist",
    ),
    Row(
        "",
        f"{PAIRS} --references $sets/references --ground-truth $sets/strange.csv",
        "it names 'R000009', and no image is called so",
    ),
    Row(
        "",
        f"{PAIRS} --references $sets/references --ground-truth $sets/header.csv",
        "its first line is 'Q00000,R000000'",
    ),
    Row(
        "",
        f"{PAIRS} --references $sets/references --ground-truth $sets/pairs.csv --neighbours 0",
        "neighbours=0; it must be a whole number at least 1",
    ),
    Row("", "eval_video.py $ckpt none --out $out/v", "none/ImageSets/2017/val.txt does not exist"),
    Row("", f"{VIDEO} --split gone", "JPEGImages/480p/gone' does not exist"),
    Row("", f"{VIDEO} --split empty", "empty.txt lists no video"),
    Row("", f"{VIDEO} --split outside", "has '../480p': expected a folder's name"),
    Row("", f"{VIDEO} --split grown", "Video grown: frame 2 has 70 x 60 pixels, but the mask"),
    Row("", f"{VIDEO} --split marked", "has the value 255: DAVIS 2017 numbers objects from 1"),
    Row("", f"{VIDEO} --split colored", "00000.png has mode RGB: expected a palette"),
    Row("", f"{VIDEO} --split masked", "00000.png does not exist: the mask of a video's first"),
    Row("", f"{VIDEO} --videos cow", "cow not in"),
    Row("", f"{VIDEO} --resolution 1080p", "JPEGImages/1080p/bear' does not exist"),
    Row("", f"{VIDEO} --size 50", "no multiple of its patch of 8. Give --size a multiple of 8"),
    Row("", f"{VIDEO} --topk 0", "topk=0; it must be a whole number at least 1"),
    Row("", f"{VIDEO} --temperature 0", "temperature=0.0; it must be a finite number above 0"),
    Row("", f"{VIDEO} --last-frames -1", "last_frames=-1; it must be a whole number at least 0"),
    Row("", f"{VIDEO} --fps 5", "--fps is for the overlays: add --overlay gif or mp4"),
    Row("", f"{VIDEO} --overlay gif --fps 0", "--fps must be within 0.01 and 1000, not 0.0"),
    Row("", f"{VIDEO} --overlay avi", "invalid choice: 'avi'"),
    Row("", "benchmarks/evaluations.py $ckpt none --out $out/made", "'none' does not exist"),
    Row("", "benchmarks/evaluations.py $ckpt $images --out $images", "is not empty: give a new"),
    Row("", "benchmarks/evaluations.py $ckpt $sets/bare --out $out/made", "1 images: expected 3"),
]

WITHOUT_VALIDATION = """
val_cfg = val_dataloader = val_evaluator = None
train_cfg = dict(val_at_start=False)
train_dataloader = dict(num_workers=0, persistent_workers=False)
"""


def of_method(name, changes, named):
    """A row with --cfg-options on the demo of a method."""
    config = f'_base_ = ["$configs/{name}/{name}_demo.py"]\n{tiny_tools.RUN}{WITHOUT_VALIDATION}'
    return Row("", f"train.py $config --cfg-options {changes}", named, config)


METHODS = [
    of_method("byol", "model.head.in_channels=32", "but the head has in_channels=32"),
    of_method("byol", "model.predictor.out_channels=32", "a head that does not fit"),
    of_method("byol", "model.head.hid_channels=-1", "model.head.hid_channels: got -1; expected a"),
    of_method("byol", "model.loss.type=mmdino.BarlowTwinsLoss", "Set model.teacher='student'"),
    of_method("byol", "default_hooks.ema_teacher=None", "nothing updates its teacher"),
    of_method("byol", "train_dataloader.batch_size=1", "got a batch of one image"),
    of_method("byol", "model.compile=True", "got compile=True; it must be a dict"),
    of_method("mocov3", "model.loss.type=mmdino.SimCLRLoss", "Set model.teacher='student'"),
    of_method("mocov3", "model.loss.temperature=0", "MoCoV3Loss got temperature=0"),
    of_method("simclr", "model.head.out_channels=0", "model.head.out_channels: got 0; expected a"),
    of_method("simclr", "model.head.with_avg_pool=True", "Set model.head.with_avg_pool=False"),
    of_method("simclr", "model.head.norm_cfg.type=BN", "Set model.head.norm_cfg.type='BN1d'"),
    of_method("simclr", "model.loss.pairs=both", "expected one of 'global', 'all'"),
    of_method(
        "simclr",
        "default_hooks.queue_start.type=mmdino.QueueStartHook",
        "error: QueueStartHook works on a model with a module that has 'queue_started'",
    ),
    of_method("simsiam", "optim_wrapper.paramwise_cfg.constant_lr=3", "a list of names of modules"),
    of_method("simsiam", "model.predictor=None", "constant_lr names predictor, which has no"),
    of_method(
        "simsiam",
        "model.backbone._delete_=True model.backbone.type=ResNet model.backbone.depth=18",
        "A map needs a neck",
    ),
    of_method("barlowtwins", "model.loss.lambd=-1", "BarlowTwinsLoss got lambd=-1"),
    of_method(
        "barlowtwins",
        "optim_wrapper.optimizer._delete_=True optim_wrapper.optimizer.type=SGD",
        "a factor of the rate, but no rate. Set optim_wrapper.optimizer.lr",
    ),
    of_method("swav", "model.loss.queue_length=32", "queue_length=32 and num_prototypes=64"),
    of_method("swav", "model.loss.queue_length=250", "queue_length=250 is no multiple of the 32"),
    of_method("swav", "model.loss.in_channels=32", "SwAVLoss has in_channels=32, but the head's"),
    of_method(
        "swav",
        "default_hooks.last_layer_freeze.epochs=None default_hooks.last_layer_freeze.steps=9999",
        "but the run has 744 optimiser",
    ),
    of_method(
        "swav",
        "default_hooks.last_layer_freeze.epochs=99",
        "99 epochs of a run of 12",
    ),
    Row(
        "",
        "train.py $tiny --cfg-options model.head.predictor.hidden_channels=8 model.teacher=student "
        "default_hooks.ema_teacher=None",
        "a predictor inside the head, so that the targets would pass it too",
    ),
]
TABLES = {
    name: rows
    for name, rows in globals().items()
    if isinstance(rows, list) and rows and isinstance(rows[0], Row)
}
ROWS = [row for rows in TABLES.values() for row in rows]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with configs, images, a trained checkpoint, banks, and damaged ones of each."""
    root = tmp_path_factory.mktemp("world")
    tiny_tools.write_configs(root)
    tiny_tools.write_images(root)
    tiny_evaluations.write_sets(root / "sets")
    run = root / "run"
    tiny_tools.main_of("train.py")([str(root / "tiny.py"), "--work-dir", str(run)])
    checkpoint = run / "epoch_2.pth"
    tiny_tools.write_checkpoints(root, checkpoint)
    for images, bank in (("images", "bank"), ("others", "queries")):
        arguments = [str(path) for path in (checkpoint, root / images, root / bank)]
        tiny_tools.main_of("extract_features.py")([*arguments, *EXTRACTION.split()])
    tiny_tools.write_banks(root)
    for network, bank in (("pixels", "curated"), (str(checkpoint), "curated_vit")):
        arguments = [network, str(root / "images"), str(root / bank), *EXTRACTION.split()]
        tiny_tools.main_of("curate.py")(["embed", *arguments])
    return root


def places(root, out):
    """Names that rows use, with the paths that they stand for."""
    files = {name: root / f"{name}.py" for name in ("tiny", "folder", "linear", "finetune")}
    folders = {name: root / name for name in ("images", "sets", "bank", "queries", "curated")}
    return {
        **files,
        **folders,
        "root": root,
        "out": out,
        "ckpt": root / "run" / "epoch_2.pth",
        "config": out / "config.py",
        "configs": tiny_tools.CONFIGS,
    }


@pytest.fixture
def end(world, tmp_path, monkeypatch, capsys):
    """Runs a row; returns its exit code, its line, and all that it wrote."""
    known = places(world, tmp_path)
    # What the configs that runs write down look like takes most of a row's time.
    monkeypatch.setattr("yapf.yapflib.yapf_api.FormatCode", lambda text, **_: (text, True))

    def run(row):
        # The one of the run before, whose stream is closed, would be the current one.
        MMLogger.get_instance(str(time.time_ns()))
        if row.config:
            (tmp_path / "config.py").write_text(Template(row.config).substitute(known))
        tool, *arguments = shlex.split(Template(row.command).substitute(known))
        if tool in RUNS and "--work-dir" not in arguments:
            arguments += ["--work-dir", str(tmp_path / "work")]
        monkeypatch.chdir(tmp_path)
        code, output, errors = tiny_tools.end(tool, arguments, monkeypatch, capsys)
        unlock_folder(tmp_path / "work")
        lines = [line for line in errors.splitlines() if line.strip()]
        return code, lines[-1] if lines else "", output + errors

    return run, known


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_wrong_input_ends_in_one_line(row, end):
    if tiny_segmentation.MMCV_LITE and re.search("configs/(ade20k|camvid)/", row.command):
        pytest.skip("mmcv-lite has no compiled operators")
    run, known = end
    named = Template(row.named).substitute(known)
    code, line, written = run(row)
    assert code == row.code, written
    assert named in (line if code else written)
    if code:
        assert "error: " in line
    assert "Traceback" not in written


def test_there_are_enough_rows_and_no_two_are_alike():
    assert len({(row.command, row.config) for row in ROWS}) == len(ROWS) >= 170


def test_every_tool_has_rows():
    tools = {path.relative_to(tiny_tools.TOOLS) for path in tiny_tools.TOOLS.rglob("*.py")}
    runnable = {str(tool) for tool in tools if "run_tool(main)" in _text(tool)}
    assert runnable <= {row.command.split()[0] for row in ROWS}


def _text(tool):
    return (tiny_tools.TOOLS / tool).read_text()


TRAIN = Row("", "train.py $tiny", "")


def test_ctrl_c_is_one_word(end, monkeypatch):
    def interrupt(runner):
        raise KeyboardInterrupt

    monkeypatch.setattr(Runner, "train", interrupt)
    code, line, _ = end[0](TRAIN)
    assert (code, line) == (130, "interrupted")


def test_a_full_disk_is_named_with_the_file(end, monkeypatch, tmp_path):
    def fill(content, path, *options, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(torch, "save", fill)
    code, line, _ = end[0](TRAIN)
    assert code == 2
    assert "No space left on device" in line
    assert "epoch_1.pth" in line
    assert not list(Path(tmp_path).rglob("*.pth"))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("train_cfg.val_interval=99", "val_interval=99 is beyond the run of 2"),
        ("train_cfg.val_begin=99", "val_begin=99 is beyond the run of 2"),
        ("default_hooks.checkpoint=None", "no checkpoint is written"),
    ],
)
def test_what_a_run_does_not_come_to_is_said_once(end, option, said):
    code, _, written = end[0](options("", f"{option} log_level=WARNING", said))
    assert code == 0, written
    assert written.count(said) == 1

"""The check of a whole config: what is wrong with it, where, and what was meant."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pytest
import tiny_segmentation
from mmengine.config import Config, read_base
from mmengine.hooks import CheckpointHook, Hook, LoggerHook
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.visualization import MLflowVisBackend
from torch import nn

from mmdino.config_check import check_config, sections

CONFIGS = Path(__file__).parents[2] / "configs"
PRETRAINING, LINEAR, FINETUNING, SEGMENTATION, SHARDED = (
    "dino_demo.py",
    "linear/demo.py",
    "finetune/demo.py",
    "camvid/vitt4_upernet_camvid.py",
    "dino_vitl16_fsdp.py",
)


@cache
def read(name):
    cfg = Config.fromfile(CONFIGS / name)
    if cfg.default_scope == "mmseg" and tiny_segmentation.MMCV_LITE:
        pytest.skip("mmcv-lite has no compiled operators")
    cfg.work_dir = "work_dirs/check"
    return cfg


def changed(name, **options):
    """A shipped config with options merged, "__" for the dots of their names."""
    cfg = copy.deepcopy(read(name))
    cfg.merge_from_dict({key.replace("__", "."): value for key, value in options.items()})
    return cfg


def mistakes(cfg):
    with pytest.raises(ValueError, match=r"The config has \d+ mistake") as found:
        check_config(cfg)
    return str(found.value).splitlines()[1:]


def only_mistake(cfg):
    (line,) = mistakes(cfg)
    return line.strip()


MISSPELT = [
    # In a component: the nearest name of the same place.
    ("model.backbone.patchsize", "VisionTransformer has no 'patchsize'; did you mean patch_size?"),
    ("model.head.out_chanels", "did you mean out_channels?"),
    ("model.loss.teacher_tmp", "DINOLoss has no 'teacher_tmp'; did you mean teacher_temp?"),
    ("model.data_preprocessor.meen", "MultiViewPreprocessor has no 'meen'; did you mean mean?"),
    ("model.num_global_view", "DINO has no 'num_global_view'; did you mean num_global_views?"),
    ("model.foo", "DINO has no 'foo' (it has backbone, compile, "),
    ("default_hooks.ema_teacher.momentm", "EMATeacherHook has no 'momentm'; did you mean momentum"),
    ("default_hooks.checkpoint.intervall", "did you mean interval?"),
    ("default_hooks.collapse_monitor.patence", "did you mean patience?"),
    ("train_dataloader.dataset.num_image", "DrawnShapes has no 'num_image'; did you mean num_im"),
    ("train_dataloader.dataset.pipeline.0.vews", "did you mean views?"),
    ("train_dataloader.sampler.shufle", "EpochSampler has no 'shufle'; did you mean shuffle?"),
    ("val_evaluator.temperatur", "KNNMetric has no 'temperatur'; did you mean temperature?"),
    ("train_cfg.max_epoch", "ResumableTrainLoop has no 'max_epoch'; did you mean max_epochs?"),
    ("val_cfg.bank_loader", "KNNValLoop has no 'bank_loader'; did you mean bank_dataloader?"),
    ("val_cfg.bank_dataloader.batch_siz", "did you mean batch_size?"),
    ("param_scheduler.0.warm_up", "WarmupCosineLR has no 'warm_up'; did you mean warmup?"),
    ("param_scheduler.1.end_valu", "CosineWeightDecay has no 'end_valu'; did you mean end_value?"),
    ("optim_wrapper.optimizer.betta", "AdamW has no 'betta'; did you mean betas?"),
    ("optim_wrapper.accumulative_count", "did you mean accumulative_counts?"),
    ("optim_wrapper.optimiser", "StepOptimWrapper has no 'optimiser'; did you mean optimizer?"),
    ("visualizer.vis_backend", "UniversalVisualizer has no 'vis_backend'; did you mean vis_back"),
    ("log_processor.window_siz", "LogProcessor has no 'window_siz'; did you mean window_size?"),
    # In a dict without a type.
    ("model.backbone.arch.embed_dim", "did you mean embed_dims?"),
    ("train_dataloader.dataset.pipeline.0.views.0.sizee", "did you mean size?"),
    ("train_dataloader.batchsize", "DataLoader has no 'batchsize'; did you mean batch_size?"),
    ("train_dataloader.pin_memry", "did you mean pin_memory?"),
    ("optim_wrapper.clip_grad.max_nrm", "clip_grad of type 'per_tensor' has no 'max_nrm'; did you"),
    ("env_cfg.cudnn_bench", "env_cfg has no 'cudnn_bench'; did you mean cudnn_benchmark?"),
    ("env_cfg.mp_cfg.mp_start", "did you mean mp_start_method?"),
    ("env_cfg.dist_cfg.bakend", "did you mean backend?"),
    ("env_cfg.dist_config", "did you mean dist_cfg?"),
    ("randomness.sed", "randomness has no 'sed'; did you mean seed?"),
    ("randomness.determinstic", "did you mean deterministic?"),
    ("auto_scale_lr.enabled", "auto_scale_lr has no 'enabled'; did you mean enable?"),
    ("compile.backnd", "compile has no 'backnd'; did you mean backend?"),
    ("model_wrapper_cfg.broadcast_bufers", "did you mean broadcast_buffers?"),
    # In another place of the config than it belongs to.
    ("optim_wrapper.lr", "did you mean optim_wrapper.optimizer.lr"),
    ("optim_wrapper.weight_decay", "did you mean optim_wrapper.optimizer.weight_decay"),
    ("model.teacher_temp", "did you mean model.loss.teacher_temp"),
    ("model.patch_size", "did you mean model.backbone.patch_size"),
    ("train_cfg.batch_size", "did you mean train_dataloader.batch_size"),
    ("train_dataloader.pipeline", "did you mean train_dataloader.dataset.pipeline"),
    ("default_hooks.loger.interval", "did you mean logger?"),
    ("default_hooks.ema_techer.momentum", "this hook has no type; did you mean ema_teacher?"),
    # At the top.
    ("custom_hook", "Runner has no 'custom_hook'; did you mean custom_hooks?"),
    ("param_schedulers", "did you mean param_scheduler?"),
    ("optim_wraper", "did you mean optim_wrapper?"),
    ("default_hook", "did you mean default_hooks?"),
    ("train_dataloder", "did you mean train_dataloader?"),
]


@pytest.mark.parametrize(("key", "named"), MISSPELT, ids=[key for key, _ in MISSPELT])
def test_misspelt_key_is_named_with_its_path_and_the_right_one(key, named):
    line = only_mistake(changed(PRETRAINING, **{key: 1}))
    # A hook without a type is a mistake of its own, and not of what is in it.
    path = key.rpartition(".")[0] if "hooks.loger" in key or "ema_techer" in key else key
    assert line.startswith(f"{path}: ")
    assert named in line


TYPES = [
    ("model.type", "mmdino.DINOO", "there is no model 'mmdino.DINOO'; did you mean mmdino.DINO"),
    ("model.type", "DINO", "did you mean mmdino.DINO?"),
    ("model.head.type", "mmdino.DINOHed", "did you mean mmdino.DINOHead"),
    ("model.backbone.type", "VisionTransfomer", "did you mean VisionTransformer"),
    ("train_dataloader.dataset.type", "ImageFolder", "did you mean mmdino.ImageFolder?"),
    ("train_dataloader.dataset.pipeline.1.type", "PackInput", "did you mean PackInputs"),
    ("train_dataloader.sampler.type", "DefaultSampeler", "did you mean DefaultSampler"),
    ("train_dataloader.collate_fn.type", "default_colate", "did you mean default_collate"),
    ("optim_wrapper.type", "StepOptimWrapper", "did you mean mmdino.StepOptimWrapper?"),
    ("optim_wrapper.constructor", "mmdino.DecayGroup", "mmdino.DecayGroupsConstructor"),
    ("optim_wrapper.optimizer.type", "AdamX", "there is no optimizer 'AdamX'; did you mean Adam"),
    ("param_scheduler.0.type", "mmdino.WarmupCosinLR", "did you mean mmdino.WarmupCosineLR?"),
    (
        "default_hooks.ema_teacher.type",
        "mmdino.EMATecherHook",
        "did you mean mmdino.EMATeacherHook",
    ),
    ("train_cfg.type", "EpochBasedTrainLop", "did you mean EpochBasedTrainLoop"),
    ("val_evaluator.type", "mmdino.KNNMetrics", "did you mean mmdino.KNNMetric"),
    ("visualizer.vis_backends.0.type", "LocalVisBackEnd", "did you mean LocalVisBackend"),
    ("model.type", 3, "got 3; expected a name or a class"),
    ("runner_type", "FlexibleRuner", "runner_type='FlexibleRuner', which is not known"),
    ("default_scope", "mmpretrian", "no project of that name is installed"),
]


@pytest.mark.parametrize(("key", "value", "named"), TYPES)
def test_unknown_type_is_named_with_the_nearest(key, value, named):
    with pytest.raises(ValueError, match=r"config has") as found:
        check_config(changed(PRETRAINING, **{key: value}))
    assert key.removesuffix(".type") in str(found.value)
    assert named in str(found.value)


VALUES = [
    ("optim_wrapper.optimizer.lr", "abc", "a finite number above 0"),
    ("optim_wrapper.optimizer.lr", float("nan"), "a finite number above 0"),
    ("optim_wrapper.optimizer.lr", float("inf"), "a finite number above 0"),
    ("optim_wrapper.optimizer.lr", 0, "a finite number above 0"),
    ("optim_wrapper.optimizer.lr", True, "a finite number above 0"),
    ("optim_wrapper.optimizer.weight_decay", -1, "a finite number of at least 0"),
    ("optim_wrapper.accumulative_counts", 1.5, "a whole number of at least 1"),
    ("optim_wrapper.accumulative_counts", -1, "a whole number of at least 1"),
    (
        "optim_wrapper.precision",
        "bf16",
        "'float32', 'bfloat16', 'float16', 'auto'; did you mean 'bf",
    ),
    ("optim_wrapper.clip_grad.max_norm", 0, "a number above 0"),
    ("optim_wrapper.clip_grad.type", "foo", "one of norm, per_network, per_tensor, value"),
    ("train_cfg.max_epochs", 0, "a whole number of at least 1"),
    ("train_cfg.max_epochs", 2.5, "a whole number of at least 1"),
    ("train_cfg.max_epochs", "abc", "a whole number of at least 1"),
    ("train_cfg.val_interval", 0, "a whole number of at least 1"),
    ("train_cfg.val_at_start", "yes", "True or False"),
    ("randomness.seed", "abc", "a whole number from 0 to 2**32 - 1"),
    ("randomness.seed", -1, "a whole number from 0 to 2**32 - 1"),
    ("default_hooks.checkpoint.interval", 0, "a whole number of at least 1, or -1 for never"),
    ("default_hooks.checkpoint.max_keep_ckpts", 0, "a whole number of at least 1, or -1 for all"),
    ("default_hooks.logger.interval", 0, "a whole number of at least 1"),
    ("default_hooks.ema_teacher.momentum", "abc", "a number"),
    ("default_hooks.ema_teacher.momentum", True, "a number"),
    ("train_dataloader.batch_size", 0, "a whole number of at least 1"),
    ("train_dataloader.num_workers", -1, "a whole number of at least 0"),
    ("train_dataloader.num_workers", 1.5, "a whole number of at least 0"),
    ("auto_scale_lr.base_batch_size", 0, "a whole number of at least 1"),
    ("log_processor.window_size", 0, "a whole number of at least 1"),
    ("model.num_global_views", 1.5, "a whole number"),
    ("model.num_global_views", True, "a whole number"),
    ("model.head", None, "a dict"),
    ("model.head.use_bn", "yes", "True or False"),
    ("model.teacher", "emma", "one of 'ema', 'student', 'frozen'; did you mean 'ema'?"),
    ("model.loss.targets", "center", "'sinkhorn_knopp', 'softmax'; did you mean 'centered'?"),
    ("val_evaluator.k", "abc", "a whole number or numbers"),
    ("model", "abc", "a dict with a type"),
    ("default_hooks", "abc", "a dict of hooks by name"),
    ("custom_hooks", "abc", "a list of hooks"),
    ("default_hooks.throughput.priority", "HIGHER", "one of HIGHEST, VERY_HIGH"),
    ("default_hooks.throughput.priority", 1000, "or a number from 0 to 100"),
    ("optim_wrapper.optimizer.lr", None, "a finite number above 0"),
    ("optim_wrapper.optimizer.betas", [0.9], "2 values in a list"),
    ("optim_wrapper.optimizer.betas", 0.9, "2 values in a list"),
    ("optim_wrapper.optimizer", None, "a dict with a type"),
    ("optim_wrapper.optimizer", ["AdamW"], "a dict with a type"),
    ("optim_wrapper.clip_grad", 3.0, "a dict, such as dict(max_norm=3.0)"),
    ("train_cfg.max_epochs", None, "a whole number of at least 1"),
    ("train_dataloader.pin_memory", "maybe", "True or False"),
    ("train_dataloader.dataset", None, "a dict with a type"),
    ("train_dataloader.dataset.num_images", [8], "a whole number"),
    ("val_cfg.bank_dataloader", "train", "a dict with a dataset"),
    ("train_dataloader", [{}], "a dict with a dataset"),
    ("model.predictor", "yes", "a dict"),
    ("default_hooks.checkpoint.filename_tmpl", "last.pth", "{} for the number and .pth"),
    ("default_hooks.checkpoint.filename_tmpl", "epoch_{}", "{} for the number and .pth"),
    ("log_processor.mean_pattern", "((", "a regular expression, but: missing )"),
    ("model.head", [1], "a dict"),
    ("model.backbone.init_cfg", "epoch_1.pth", "dict(type='Pretrained', checkpoint=PATH)"),
    ("auto_scale_lr.enable", "of", "True or False"),
    ("env_cfg.mp_cfg.mp_start_method", "thread", "one of 'fork'"),
    ("log_level", [1], "one of 'DEBUG', 'INFO'"),
    ("work_dir", 5, "a text"),
    ("env_cfg", 3, "a dict"),
    ("log_level", "INFOO", "one of 'DEBUG', 'INFO'"),
    ("sync_bn", "troch", "one of 'torch', 'mmcv'"),
    ("resume", "last", "True or False"),
    ("work_dir", ["x"], "a text"),
]


@pytest.mark.parametrize(("key", "value", "expected"), VALUES)
def test_wrong_value_is_named_with_what_is_allowed(key, value, expected):
    line = only_mistake(changed(PRETRAINING, **{key: value}))
    assert line.startswith(f"{key}: got {value!r}; expected ")
    assert expected in line


def test_workers_that_stay_need_to_be_there():
    line = only_mistake(changed(PRETRAINING, train_dataloader__num_workers=0))
    assert line.startswith("train_dataloader.persistent_workers: ")
    assert line.endswith("add train_dataloader.persistent_workers=False")


LENGTHS = [
    ("param_scheduler.0.warmup", 50),
    ("default_hooks.last_layer_freeze.epochs", 13),
    ("default_hooks.teacher_temp_warmup.epochs", 13),
]


@pytest.mark.parametrize(("key", "epochs"), LENGTHS)
def test_a_beginning_longer_than_the_run_is_refused(key, epochs):
    line = only_mistake(changed(PRETRAINING, **{key: epochs}))
    assert line.startswith(f"{key}: {epochs} epochs of a run of 12 (train_cfg.max_epochs)")


@pytest.mark.parametrize(("key", "epochs"), LENGTHS)
def test_a_beginning_as_long_as_the_run_is_told(key, epochs):
    (doubt,) = check_config(changed(PRETRAINING, **{key: 12}))
    assert doubt == f"{key}=12: all 12 epochs of a run of 12 (train_cfg.max_epochs)."


@pytest.mark.parametrize("epochs", [12, 13])
def test_a_queue_that_starts_after_the_run_is_told(epochs):
    hook = {"type": "mmdino.QueueStartHook", "epochs": epochs}
    cfg = changed(PRETRAINING, default_hooks__queue_start=hook)
    told = only_mistake(cfg) if epochs > 12 else check_config(cfg)[0]
    assert told.startswith("default_hooks.queue_start.epochs")
    assert f"{epochs} epochs of a run of 12" in told


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("train_cfg.val_interval", 13, "beyond the run of 12 (train_cfg.max_epochs): only its end"),
        ("train_cfg.val_begin", 13, "beyond the run of 12 (train_cfg.max_epochs): training is not"),
        ("default_hooks.checkpoint", None, "no checkpoint is written"),
    ],
)
def test_what_the_run_does_not_come_to_is_told(key, value, told):
    (doubt,) = check_config(changed(PRETRAINING, **{key: value}))
    assert told in doubt


def test_another_hook_may_write_the_checkpoints():
    hooks = [{"type": "CheckpointHook"}]
    assert not check_config(
        changed(PRETRAINING, default_hooks__checkpoint=None, custom_hooks=hooks)
    )


def test_an_epoch_needs_an_end():
    endless = {"train_dataloader.sampler.type": "InfiniteSampler"}
    assert "InfiniteSampler has no end" in only_mistake(changed(PRETRAINING, **endless))
    assert read(SEGMENTATION).train_dataloader.sampler.type == "InfiniteSampler"


@pytest.mark.parametrize("kind", [None, 5, "", ["ViT"]])
def test_a_type_that_is_no_name_is_named(kind):
    cfg = changed(PRETRAINING)
    cfg.model.backbone.type = kind
    line = only_mistake(cfg)
    assert line == f"model.backbone.type: got {kind!r}; expected a name or a class"


def test_a_key_that_is_unknown_is_one_mistake():
    line = only_mistake(changed(PRETRAINING, default_hooks__throughput__interval="x"))
    assert "ThroughputHook has no 'interval'" in line


def test_an_optimizer_of_an_unknown_wrapper_is_not_judged():
    line = only_mistake(changed(PRETRAINING, optim_wrapper__type="AmpOptimWraper"))
    assert "did you mean AmpOptimWrapper" in line


def test_a_scope_that_is_no_text_is_named():
    with pytest.raises(ValueError, match=r"default_scope=\['mmseg'\], but no project"):
        check_config(changed(PRETRAINING, default_scope=["mmseg"]))


def test_a_schedule_of_mmengine_that_does_not_come_to_its_end_is_told():
    cfg = changed(SEGMENTATION, train_cfg__max_iters=5)
    assert any("does not come to its end" in doubt for doubt in check_config(cfg))


def test_schedules_that_end_before_the_run_are_told():
    schedules = [
        {"type": "LinearLR", "by_epoch": False, "end": 100},
        {"type": "PolyLR", "by_epoch": False, "begin": 100, "end": 4000},
    ]
    early = "param_scheduler.1.end=4000 is before the end of the run of 8000 (train_cfg.max_iters)"
    for iters, told in ((8000, True), (4000, False)):
        cfg = changed(SEGMENTATION, train_cfg__max_iters=iters, param_scheduler=schedules)
        assert any(early in doubt for doubt in check_config(cfg)) is told
    # A warm-up in epochs, and another parameter's schedule, say nothing of the rate's end.
    others = [{"type": "LinearLR", "end": 10000}, {"type": "CosineAnnealingMomentum", "T_max": 9}]
    cfg = changed(SEGMENTATION, train_cfg__max_iters=8000, param_scheduler=[*schedules, *others])
    assert any(early in doubt for doubt in check_config(cfg))
    del schedules[1]["end"]
    cfg = changed(SEGMENTATION, train_cfg__max_iters=8000, param_scheduler=schedules)
    assert not any("before the end" in doubt for doubt in check_config(cfg))


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        ("TensorboardVisBackend", "tensorboard"),
        ("mmengine.WandbVisBackend", "wandb"),
        (MLflowVisBackend, "mlflow"),
    ],
)
def test_a_logger_that_is_not_installed_is_told_with_its_extra(monkeypatch, kind, package):
    monkeypatch.setattr(sections, "find_spec", lambda name: None if name == package else "found")
    backends = [{"type": "LocalVisBackend"}, {"type": kind}]
    name = kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
    assert only_mistake(changed(PRETRAINING, visualizer__vis_backends=backends)) == (
        f"visualizer.vis_backends.1: {name} needs {package}, which is not installed. "
        f'Run: pip install "mmdino[{package}]"'
    )


def test_a_logger_that_is_installed_is_accepted(monkeypatch):
    monkeypatch.setattr(sections, "find_spec", lambda name: "found")
    backends = [{"type": "TensorboardVisBackend"}]
    assert not check_config(changed(PRETRAINING, visualizer__vis_backends=backends))


TOGETHER = [
    ("train_dataloader", "train_cfg, optim_wrapper"),
    ("optim_wrapper", "train_dataloader, train_cfg"),
    ("val_cfg", "val_dataloader, val_evaluator"),
    ("val_evaluator", "val_dataloader, val_cfg"),
]


@pytest.mark.parametrize(("key", "others"), TOGETHER)
def test_sections_that_go_together_are_all_needed(key, others):
    line = only_mistake(changed(PRETRAINING, **{key: None}))
    assert line == f"{key}: missing beside {others}; give all of them or none"


MISSING = [
    ("model.head.in_channels", "model.head: DINOHead needs 'in_channels'"),
    ("model.type", "model: this dict has no type"),
    ("optim_wrapper.optimizer", "optim_wrapper: it needs an optimizer"),
    ("train_dataloader.dataset", "train_dataloader: a dataloader needs 'dataset'"),
    ("train_dataloader.sampler", "train_dataloader: a dataloader needs 'sampler'"),
    ("train_cfg.max_epochs", "train_cfg: ResumableTrainLoop needs 'max_epochs'"),
    ("train_cfg.type", "train_cfg: it needs a type, or by_epoch=True or False"),
    ("default_hooks.ema_teacher.type", "default_hooks.ema_teacher: this hook has no type"),
]


@pytest.mark.parametrize(("key", "named"), MISSING)
def test_what_is_missing_is_named(key, named):
    cfg = copy.deepcopy(read(PRETRAINING))
    *path, last = key.split(".")
    node = cfg
    for part in path:
        node = node[part]
    del node[last]
    assert any(named in line for line in mistakes(cfg))


OTHER_KINDS = [
    (LINEAR, "model.head.lr", 1, "LinearProbeHead has no 'lr'; did you mean lrs?"),
    (
        LINEAR,
        "model.backbone.backbne",
        {},
        "FrozenBackbone has no 'backbne'; did you mean backbone",
    ),
    (LINEAR, "model.backbone.backbone.init_cfg.checkpont", "x", "did you mean checkpoint?"),
    (FINETUNING, "optim_wrapper.paramwise_cfg.layer_decay", 1, "did you mean layer_decay_rate"),
    (FINETUNING, "model.head.loss.label_smoth_val", 0.1, "did you mean label_smooth_val?"),
    (SEGMENTATION, "model.decode_head.num_clases", 3, "UPerHead has no 'num_clases'; did you mean"),
    (SEGMENTATION, "model.test_cfg.mod", "slide", "did you mean mode?"),
    (SEGMENTATION, "train_cfg.max_iter", 3, "IterBasedTrainLoop has no 'max_iter'; did you mean"),
    (
        SEGMENTATION,
        "val_evaluator.iou_metric",
        [],
        "IoUMetric has no 'iou_metric'; did you mean iou",
    ),
    (SHARDED, "strategy.sharding", 1, "StudentTeacherFSDPStrategy has no 'sharding'"),
    (SHARDED, "compile", True, "Nothing reads compile of the config"),
]


@pytest.mark.parametrize(("name", "key", "value", "named"), OTHER_KINDS)
def test_other_kinds_of_runs_are_checked_too(name, key, value, named):
    cfg = changed(name, **{key: value})
    try:
        found = "\n".join(check_config(cfg))
    except ValueError as error:
        found = str(error)
    assert key.rpartition(".")[2] in found
    assert named in found


def test_all_mistakes_are_in_one_message():
    cfg = changed(PRETRAINING, optim_wrapper__lr=1, train_cfg__max_epoch=3, randomness__seed="x")
    assert len(mistakes(cfg)) == 3


def test_a_key_that_nothing_reads_is_told_in_one_line():
    cfg = changed(PRETRAINING, my_note=1, other=2, _private=3)
    (doubt,) = check_config(cfg)
    assert doubt.startswith("Nothing reads my_note, other of the config.")


@pytest.mark.parametrize(
    ("place", "files", "doubts"),
    [("run", (), 0), ("elsewhere", (), 1), ("moved", ("last_checkpoint",), 0)],
)
def test_variables_are_keys_in_the_copy_that_a_run_keeps_of_its_config(
    tmp_path, place, files, doubts
):
    path = tmp_path / place / "mine.py"
    path.parent.mkdir()
    for name in files:
        (path.parent / name).touch()
    changed(PRETRAINING, my_note=1, work_dir=str(tmp_path / "run")).dump(path)
    assert len(check_config(Config.fromfile(path))) == doubts


def test_variables_called_nearly_as_a_key_are_no_mistake_in_the_copy_of_a_run(tmp_path):
    text = (
        f"_base_ = {str(CONFIGS / PRETRAINING)!r}\n"
        "custom_hook = dict(type='EmptyCacheHook')\n"
        "custom_hooks = [custom_hook]\n"
        f"work_dir = {str(tmp_path / 'run')!r}\n"
    )
    (tmp_path / "mine.py").write_text(text)
    cfg = Config.fromfile(tmp_path / "mine.py")
    assert check_config(cfg) == []
    (tmp_path / "run").mkdir()
    cfg.dump(tmp_path / "run" / "mine.py")
    assert check_config(Config.fromfile(tmp_path / "run" / "mine.py")) == []


def test_sections_that_a_tool_needs_are_named():
    with pytest.raises(ValueError, match="test_dataloader: it is missing, and this tool needs it"):
        check_config(read(PRETRAINING), needs=("model", "test_dataloader"))


def test_objects_classes_and_dicts_are_taken():
    """As a script of one's own may write a config."""
    cfg = copy.deepcopy(read(PRETRAINING)).to_dict()
    cfg["train_dataloader"]["dataset"] = [1, 2, 3]
    cfg["default_hooks"]["mine"] = object()
    assert (
        check_config({key: value for key, value in cfg.items() if key != "data_root"}) is not None
    )


@pytest.mark.parametrize("hooks", [None, {}, {"logger": None}])
def test_no_hooks_are_allowed(hooks):
    cfg = copy.deepcopy(read(PRETRAINING))
    cfg.default_hooks = hooks
    cfg.custom_hooks = None
    assert check_config(cfg) == []


class OwnModel(nn.Module):
    """A model of a user, which gives its head and backbone what their configs lack."""

    def __init__(self, backbone, head, data_preprocessor=None):
        super().__init__()


def test_a_model_of_ones_own_may_complete_the_configs_of_its_parts():
    cfg = changed(FINETUNING)
    head = {"type": "LinearClsHead", "num_classes": 3}
    cfg.model = {"type": OwnModel, "backbone": cfg.model.backbone.to_dict(), "head": head}
    assert check_config(cfg) == []
    cfg.model.head = {"type": "LinearClsHead", "num_clases": 3}
    assert "did you mean num_classes?" in only_mistake(cfg)
    cfg = changed(FINETUNING)
    cfg.model.head = head
    assert "LinearClsHead needs 'in_channels'" in only_mistake(cfg)


class OwnConstructor(DefaultOptimWrapperConstructor):
    """A constructor of a user, which reads a key of its own before the others."""

    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        options = dict(paramwise_cfg)
        self.adapter_lr_mult = options.pop("adapter_lr_mult", 1)
        super().__init__(optim_wrapper_cfg, options)


def test_a_constructor_of_ones_own_may_read_other_keys():
    cfg = changed(PRETRAINING, optim_wrapper__constructor=OwnConstructor)
    cfg.optim_wrapper.paramwise_cfg = {"adapter_lr_mult": 0.1, "norm_decay_mult": 0}
    assert check_config(cfg) == []
    cfg.optim_wrapper.paramwise_cfg = {"norm_decay_mul": 0}
    assert "did you mean norm_decay_mult?" in only_mistake(cfg)
    cfg = changed(PRETRAINING, optim_wrapper__constructor="DefaultOptimWrapperConstructor")
    cfg.optim_wrapper.paramwise_cfg = {"adapter_lr_mult": 0.1}
    assert "has no 'adapter_lr_mult'" in only_mistake(cfg)


class OwnHook(Hook):
    """A hook of a user, whose arguments mean something else than those of mmengine's hooks."""

    def __init__(self, interval, max_keep_ckpts=1, filename_tmpl="{}"):
        pass


class OwnCheckpointHook(CheckpointHook):
    """A hook of a user that writes checkpoints."""


@pytest.mark.parametrize("interval", [0.5, 0])
def test_a_hook_of_ones_own_may_have_other_intervals_and_files(interval):
    options = {"interval": interval, "max_keep_ckpts": 0, "filename_tmpl": "vis_{}.png"}
    hook = {"type": OwnHook, **options}
    cfg = changed(PRETRAINING, custom_hooks=[hook], default_hooks__pictures=hook)
    assert check_config(cfg) == []


def test_a_hook_of_ones_own_that_writes_checkpoints_needs_their_names():
    hook = {"type": OwnCheckpointHook, "filename_tmpl": "vis_{}.png"}
    line = only_mistake(changed(PRETRAINING, custom_hooks=[hook]))
    assert line.startswith("custom_hooks.0.filename_tmpl: ")


@pytest.mark.parametrize(
    ("name", "kind", "is_refused"),
    [
        ("timers", "EmptyCacheHook", False),
        ("loggers", OwnHook, False),
        ("checkpoints", OwnCheckpointHook, False),
        ("checkpoints", "CheckpointHook", True),
        ("loger", LoggerHook, True),
    ],
)
def test_a_hook_with_another_type_may_be_called_nearly_as_one_of_mmengine(name, kind, is_refused):
    hook = {"type": kind, "interval": 1} if kind != "EmptyCacheHook" else {"type": kind}
    cfg = changed(PRETRAINING, **{f"default_hooks__{name}": hook})
    if is_refused:
        assert f"default_hooks.{name}: mmengine has no {name!r}; did you mean" in only_mistake(cfg)
    else:
        assert check_config(cfg) == []


def test_policies_may_name_the_argument_that_their_magnitude_is_of():
    policy = {"type": "Rotate", "magnitude_key": "angle", "magnitude_range": (0, 30)}
    augment = {"type": "RandAugment", "policies": [policy], "num_policies": 1, "magnitude_level": 9}
    cfg = changed(FINETUNING)
    cfg.train_dataloader.dataset.pipeline.insert(1, augment)
    assert check_config(cfg) == []


def test_what_a_config_in_the_new_style_imports_for_its_bases_is_read():
    assert check_config(changed(PRETRAINING, read_base=read_base)) == []

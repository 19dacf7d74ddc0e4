"""A DINO run small enough for a test: real Runner, hooks, wrapper, schedulers and loop."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

import mmdino
from mmdino.engine.model_access import bare_model

ARCH = {"embed_dims": 12, "num_layers": 2, "num_heads": 2, "feedforward_channels": 48}
VIEW_SIZES = (32, 32, 16, 16)
SCRIPTS = Path(__file__).parent / "scripts"


class RandomViews(Dataset):
    """Views drawn from the seed of their index, as a pipeline with MultiCropTransform draws them.

    Args:
        size: Number of images.
        dtype: Precision of the views.
        poison: Index of an image whose views are not finite.
        view_sizes: Side of each view in pixels.
    """

    metainfo: dict = {}

    def __init__(self, size=12, dtype=torch.float32, poison=None, view_sizes=VIEW_SIZES):
        self.size = size
        self.view_sizes = view_sizes
        self.dtype = dtype
        self.poison = poison

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        seed = hash(getattr(index, "seed", (0, int(index)))) % 2**31
        generator = torch.Generator().manual_seed(seed)
        views = [
            torch.randn(3, side, side, generator=generator, dtype=self.dtype)
            for side in self.view_sizes
        ]
        if index == self.poison:
            views[0].fill_(float("nan"))
        sample = DataSample(metainfo={"img_path": f"images/{int(index)}.jpg"})
        return {"inputs": views, "data_samples": sample}


class LabelledImages(Dataset):
    """Noise on a pattern of each class, as a pipeline with PackInputs gives it.

    Args:
        size: Number of images.
        num_classes: Number of classes, which take turns.
        seed: Seed of the noise; the patterns are the same for all.
        with_label: Whether the samples carry their class.
    """

    metainfo: dict = {}

    def __init__(self, size=8, num_classes=4, seed=0, with_label=True):
        patterns = torch.randn(num_classes, 3, 32, 32, generator=torch.Generator().manual_seed(9))
        noise = torch.randn(size, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        self.labels = [index % num_classes for index in range(size)]
        self.images = patterns[self.labels] + noise
        self.with_label = with_label

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        sample = DataSample(metainfo={"sample_idx": int(index), "img_path": f"{int(index)}.jpg"})
        if self.with_label:
            sample.set_gt_label(self.labels[index])
        return {"inputs": self.images[index], "data_samples": sample}


def loader(dataset, batch_size=4, **options):
    """Config of a loader for evaluation."""
    return {
        "dataset": dataset,
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "batch_size": batch_size,
        "num_workers": 0,
        "collate_fn": {"type": "default_collate"},
        **options,
    }


def validation(k=(1, 5), **options):
    """Configs of a validation by nearest neighbours; ``options`` go to the loop."""
    bank = loader(LabelledImages(16, seed=1))
    return {
        "val_dataloader": loader(LabelledImages(12)),
        "val_cfg": {"type": "mmdino.KNNValLoop", "bank_dataloader": bank, **options},
        "val_evaluator": {"type": "mmdino.KNNMetric", "k": k},
    }


def vit_model(**options):
    """Config of DINO with a ViT of width 12."""
    return {
        "type": "mmdino.DINO",
        "backbone": {
            "type": "mmdino.VisionTransformer",
            "arch": ARCH,
            "img_size": 32,
            "patch_size": 8,
        },
        "head": {
            "type": "mmdino.DINOHead",
            "in_channels": 12,
            "out_channels": 32,
            "hidden_channels": 16,
            "bottleneck_channels": 8,
        },
        "data_preprocessor": {"mean": [0.0] * 3, "std": [1.0] * 3, "bgr_to_rgb": False},
        **options,
    }


def resnet_model(**options):
    """Config of DINO with a narrow ResNet-18, batch norm in backbone and head."""
    model = vit_model(
        backbone={
            "type": "ResNet",
            "depth": 18,
            "stem_channels": 8,
            "base_channels": 8,
            "out_indices": (3,),
        },
        neck={"type": "GlobalAveragePooling"},
    )
    model["head"] |= {"in_channels": 64, "use_bn": True}
    return model | options


def config(work_dir, **options):
    """Config of a run; ``options`` replace whole keys.

    Convenience keys: ``batch_size``, ``accumulative_counts``, ``epochs``, ``dataset``,
    ``collate_fn``, ``wrapper`` (merged into optim_wrapper).
    """
    counts = options.pop("accumulative_counts", 1)
    wrapper = options.pop("wrapper", {})
    cfg = {
        "model": vit_model(),
        "work_dir": str(work_dir),
        "train_dataloader": {
            "dataset": options.pop("dataset", RandomViews()),
            "sampler": {"type": "mmdino.EpochSampler", "shuffle": True},
            "batch_size": options.pop("batch_size", 4),
            "num_workers": 0,
            "collate_fn": options.pop("collate_fn", {"type": "default_collate"}),
        },
        "train_cfg": {"type": "mmdino.ResumableTrainLoop", "max_epochs": options.pop("epochs", 2)},
        "optim_wrapper": {
            "type": "mmdino.StepOptimWrapper",
            "constructor": "mmdino.DecayGroupsConstructor",
            # The constructor multiplies by the micro-batches; the tests want one rate for all.
            "optimizer": {"type": "AdamW", "lr": 0.002 / counts, "weight_decay": 0.04},
            "clip_grad": {"type": "per_tensor", "max_norm": 0.3},
            "accumulative_counts": counts,
            **wrapper,
        },
        "param_scheduler": [
            {
                "type": "mmdino.WarmupCosineLR",
                "warmup": 1,
                "end_lr": 1e-5,
                "by_epoch": True,
                "convert_to_iter_based": True,
            },
            {
                "type": "mmdino.CosineWeightDecay",
                "end_value": 0.4,
                "by_epoch": True,
                "convert_to_iter_based": True,
            },
        ],
        "custom_hooks": hooks(),
        "default_scope": "mmpretrain",
        "default_hooks": {"logger": {"type": "LoggerHook", "interval": 1}},
        "env_cfg": {"dist_cfg": {"backend": "gloo"}},
        "randomness": {"seed": 3},
        "experiment_name": f"{Path(work_dir).name}-{len(_names)}",
        "log_level": "WARNING",
    }
    # Runs of one name share mmengine's global message hub.
    _names.append(cfg["experiment_name"])
    return cfg | options


def hooks(**changes):
    """Configs of the hooks that the shipped configs have; a change of None leaves one out."""
    defaults = {
        "IterationSeedHook": {},
        "EMATeacherHook": {"momentum": 0.9},
        "CenterUpdateHook": {},
        "LastLayerFreezeHook": {"epochs": 1},
        "TeacherTempWarmupHook": {"start": 0.03, "epochs": 2},
        "FiniteLossHook": {},
        "UnreadableImagesHook": {},
        "ThroughputHook": {},
    }
    merged = defaults | changes
    return [
        {"type": f"mmdino.{name}", **arguments}
        for name, arguments in merged.items()
        if arguments is not None
    ]


def build(work_dir, **options):
    """Builds the Runner of :func:`config`."""
    return Runner(**config(work_dir, **options))


class Recorder(Hook):
    """Notes what each micro-batch used and what it left.

    A row has the ``lr`` and ``weight_decay`` in force, the ``loss``, whether the optimiser took a
    ``step``, the teacher's ``momentum`` (None before the first step), and copies of ``center``,
    ``student`` and ``teacher`` (all parameters as one vector) and ``prototypes``.
    """

    priority = "LOWEST"

    def __init__(self):
        self.rows = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        group = runner.optim_wrapper.optimizer.param_groups[0]
        self.rows.append({"lr": group["lr"], "weight_decay": group["weight_decay"]})

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = bare_model(runner)
        momentum = runner.message_hub.log_scalars.get("train/teacher_momentum")
        teacher, student = (flat(tensors) for tensors in model.teacher_pairs())
        self.rows[-1] |= {
            "loss": outputs["loss"].item(),
            "step": runner.optim_wrapper.step_taken,
            "momentum": momentum.current() if momentum else None,
            "center": model.dino_loss.center.clone(),
            "student": student,
            "teacher": teacher,
            "prototypes": flat(model.head.last_layer.parameters()),
        }

    def column(self, name):
        """One entry of all rows."""
        return [row[name] for row in self.rows]


def flat(tensors):
    """Copies tensors into one vector."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def log_text(runner):
    """What a run with ``log_level="INFO"`` has written to its log file."""
    return (Path(runner.log_dir) / f"{runner.timestamp}.log").read_text()


def script_env(**variables):
    """Environment of a script that finds this Python, mmdino and this module; on one thread."""
    places = [Path(mmdino.__file__).parents[1], Path(__file__).parent]
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(map(str, places)),
        "OMP_NUM_THREADS": "1",
        **variables,
    }


def train_double(runner):
    """Trains in float64, where the order of a sum makes no visible difference."""
    runner.model.double()
    runner.train()
    return runner.model.state_dict()


_names: list[str] = []

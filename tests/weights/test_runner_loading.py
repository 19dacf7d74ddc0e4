"""Checkpoints are read restricted where mmdino takes part, and as before everywhere else."""

from __future__ import annotations

import contextlib
import itertools
import pickle

import pytest
import tiny_run
import torch
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import CheckpointLoader, FlexibleRunner, Runner, load_checkpoint
from mmengine.runner.checkpoint import load_from_local
from torch import nn
from torch.utils.data import Dataset

from mmdino.models.backbones.vision_transformer import VisionTransformer
from mmdino.weights import runner_loading
from mmdino.weights.runner_loading import restrict_loading

VIT = {"type": "mmdino.VisionTransformer", "arch": tiny_run.ARCH, "img_size": 32, "patch_size": 8}
MMPRETRAIN_VIT = VIT | {"type": "mmpretrain.VisionTransformer"}
MMDINO_HOOK = {"type": "mmdino.ThroughputHook"}

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def _no_tool(monkeypatch):
    """A tool that another test called in this process has restricted everything."""
    monkeypatch.setattr(runner_loading, "_restrict_all", False)


class Values(Dataset):
    """Numbers to train on."""

    metainfo: dict = {}

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.ones(1)


class OneLayer(BaseModel):
    """The model of another project."""

    def __init__(self, part=None, init_cfg=None):
        super().__init__(init_cfg=init_cfg)
        self.layer = nn.Linear(1, 1)
        self.part = MODELS.build(part) if isinstance(part, dict) else part

    def forward(self, *inputs, mode="tensor"):
        return {"loss": sum(self.layer(value).sum() for value in inputs)}


class Creates:
    """Pickles as the call that opens a file for writing."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def hostile(tmp_path):
    """A checkpoint that creates the file ``marker`` beside it when it is unpickled."""
    content = {"state_dict": OneLayer().state_dict(), "meta": {"x": Creates(tmp_path / "marker")}}
    torch.save(content, tmp_path / "hostile.pth")
    return tmp_path / "hostile.pth"


def runner(tmp_path, model=None, kind=Runner, sampler=None, **options):
    return kind(
        model=model or OneLayer(),
        work_dir=str(tmp_path / "run"),
        # Runs of one name share mmengine's global objects.
        experiment_name=f"loading-{next(_numbers)}",
        default_scope="mmengine",
        log_level="ERROR",
        train_dataloader={
            "dataset": Values(),
            "batch_size": 2,
            "num_workers": 0,
            "sampler": sampler or {"type": "DefaultSampler"},
        },
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        **options,
    )


def require_restricted(hostile, load, *args):
    with pytest.raises(ValueError, match=r"hostile\.pth asks to run code: (builtins|_?io)\.open\."):
        load(*args)
    assert not (hostile.parent / "marker").exists()


def require_as_before(hostile, load, *args):
    """Checks that a file has the effect that it has with mmengine's own loader."""
    effects = []
    for read, arguments in ((load_from_local, (str(hostile), "cpu")), (load, args)):
        marker = hostile.parent / "marker"
        # mmengine itself may refuse the file, and after loading it misses what training saves.
        with contextlib.suppress(pickle.UnpicklingError, KeyError, TypeError):
            read(*arguments)
        effects.append(marker.exists())
        marker.unlink(missing_ok=True)
    assert effects[0] == effects[1]


@pytest.mark.parametrize("method", ["load_checkpoint", "resume"])
@pytest.mark.parametrize(
    "options",
    [
        {"model": {"type": "OneLayer", "part": VIT}},
        {"model": {"type": "OneLayer", "part": MMPRETRAIN_VIT}, "custom_hooks": [MMDINO_HOOK]},
        {"custom_hooks": [MMDINO_HOOK]},
    ],
    ids=["a backbone", "a hook beside mmpretrain's backbone", "a hook"],
)
def test_a_runner_that_builds_something_of_mmdino_reads_restricted(
    tmp_path, hostile, one_layer, options, method
):
    run = runner(tmp_path, **options)
    require_restricted(hostile, getattr(run, method), str(hostile))


def test_modules_that_were_built_without_a_registry_are_found(tmp_path, hostile):
    part = VisionTransformer(tiny_run.ARCH, img_size=32, patch_size=8)
    run = runner(tmp_path, OneLayer(part))
    require_restricted(hostile, run.load_checkpoint, str(hostile))


@pytest.mark.parametrize("resume", [False, True])
def test_a_component_that_is_built_with_the_loop_counts(tmp_path, hostile, resume):
    sampler = {"type": "mmdino.EpochSampler"}
    run = runner(tmp_path, sampler=sampler, load_from=str(hostile), resume=resume)
    require_restricted(hostile, run.train)


@pytest.mark.parametrize("hooks", [[], [MMDINO_HOOK]], ids=["other", "mmdino"])
def test_runners_with_a_strategy(tmp_path, hostile, hooks):
    run = runner(tmp_path, kind=FlexibleRunner, custom_hooks=hooks, load_from=str(hostile))
    check = require_restricted if hooks else require_as_before
    check(hostile, run.train)


@pytest.mark.parametrize("part", [None, MMPRETRAIN_VIT], ids=["mmengine", "mmpretrain"])
@pytest.mark.parametrize("method", ["load_checkpoint", "resume"])
def test_other_runners_load_as_before(tmp_path, hostile, one_layer, part, method):
    ours = runner(tmp_path, custom_hooks=[MMDINO_HOOK])
    theirs = runner(tmp_path, {"type": "OneLayer", "part": part})
    newest = runner(tmp_path, custom_hooks=[MMDINO_HOOK])
    require_as_before(hostile, getattr(theirs, method), str(hostile))
    for run in (ours, newest):
        require_restricted(hostile, getattr(run, method), str(hostile))


def test_direct_calls_depend_on_the_model(hostile):
    require_as_before(hostile, load_checkpoint, OneLayer(), str(hostile))
    require_as_before(hostile, CheckpointLoader.load_checkpoint, str(hostile))
    require_restricted(hostile, load_checkpoint, MODELS.build(VIT), str(hostile))
    require_restricted(hostile, load_checkpoint, OneLayer(MODELS.build(VIT)), str(hostile))


@pytest.mark.parametrize("prefix", [None, "layer."])
@pytest.mark.parametrize(
    "model",
    [
        {"type": "mmdino.DINOHead", "in_channels": 4, "out_channels": 8},
        {"type": "mmpretrain.ImageClassifier", "backbone": VIT},
        {"type": "mmpretrain.ImageClassifier", "backbone": MMPRETRAIN_VIT, "neck": None},
        None,
    ],
    ids=["head", "classifier", "other", "method"],
)
def test_init_cfg_of_a_module_that_contains_something_of_mmdino(hostile, model, prefix):
    model = dict(model or tiny_run.vit_model())
    ours = model.get("backbone") is not MMPRETRAIN_VIT
    model["init_cfg"] = {"type": "Pretrained", "checkpoint": str(hostile), "prefix": prefix}
    built = MODELS.build(model)
    check = require_restricted if ours else require_as_before
    check(hostile, built.init_weights)


def test_a_module_of_another_project_within_a_run_of_mmdino(tmp_path, hostile, one_layer):
    load = {"type": "Pretrained", "checkpoint": str(hostile)}
    model = {"type": "OneLayer", "init_cfg": load}
    run = runner(tmp_path, model, custom_hooks=[MMDINO_HOOK])
    require_restricted(hostile, run.train)


def test_a_plain_checkpoint_resumes(tmp_path):
    first = runner(tmp_path, custom_hooks=[MMDINO_HOOK])
    first.train()
    again = runner(tmp_path, custom_hooks=[MMDINO_HOOK])
    again.resume(str(tmp_path / "run" / "epoch_1.pth"))
    assert again.epoch == 1
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor)


def test_tools_restrict_everything(hostile):
    restrict_loading()
    require_restricted(hostile, CheckpointLoader.load_checkpoint, str(hostile))
    require_restricted(hostile, load_checkpoint, OneLayer(), str(hostile))


@pytest.mark.parametrize("scheme", ["s3", "petrel", "pavi", "cluster:s3"])
def test_a_store_that_cannot_be_read_restricted_is_refused(tmp_path, scheme):
    run = runner(tmp_path, custom_hooks=[MMDINO_HOOK])
    with pytest.raises(ValueError, match=rf"{scheme}://bucket/a\.pth cannot be downloaded"):
        run.load_checkpoint(f"{scheme}://bucket/a.pth")


@pytest.fixture
def one_layer():
    """Registers the model of another project."""
    MODELS.register_module(module=OneLayer, force=True)
    yield
    del MODELS.module_dict["OneLayer"]

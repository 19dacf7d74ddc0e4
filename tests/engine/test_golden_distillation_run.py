"""A whole run of feature distillation equals the reference's, with the real Runner."""

from __future__ import annotations

import pytest
import tiny_distillation
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from torch.utils.data import Dataset

from mmdino.engine.optimizers.decay_groups_constructor import parameter_groups
from mmdino.weights.layouts import authors_vit
from mmdino.weights.layouts.renaming import rename


@pytest.fixture(scope="module")
def reference(golden):
    return golden("distillation_train", "train/")


@pytest.fixture(scope="module")
def teacher(golden, tmp_path_factory):
    """File of the teacher."""
    path = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    torch.save(golden("distillation_train", "train/teacher/"), path)
    return path


class GivenImages(Dataset):
    """The reference's images (iterations, B, 3, H, W), one by one, in its order."""

    metainfo: dict = {}

    def __init__(self, images, epoch_length):
        self.images = images
        self.size = epoch_length * images.shape[1]

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        _, epoch, _ = index.seed
        return {"inputs": [self.images.flatten(0, 1)[epoch * self.size + int(index)]]}


class Recorder(Hook):
    """Notes the rate, the norm of the gradient before clipping, and the loss of each step."""

    priority = "LOWEST"

    def __init__(self):
        self.seen = {"lr": [], "losses": [], "grad_norm": []}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen["lr"].append(runner.optim_wrapper.optimizer.param_groups[0]["lr"])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen["losses"].append(outputs["loss"].item())
        norm = runner.message_hub.log_scalars["train/grad_norm"]
        self.seen["grad_norm"].append(float(norm.current()))


def model(path):
    """Images come as they are: mean 0, deviation 1."""
    same = {"mean": [0.0] * 3, "std": [1.0] * 3}
    cfg = tiny_distillation.model(path, **same)
    return {**cfg, "data_preprocessor": {**same, "bgr_to_rgb": False}}


def test_run_equals_the_reference(reference, golden, teacher, tmp_path):
    peak = float(reference["base_lr"])
    recorder = Recorder()
    epoch_length = int(reference["iters_per_epoch"])
    runner = tiny_run.build(
        tmp_path,
        dataset=GivenImages(reference["images"], epoch_length),
        batch_size=reference["images"].shape[1],
        epochs=int(reference["epochs"]),
        model=model(teacher),
        wrapper={
            "optimizer": {
                "type": "AdamW",
                "lr": peak,
                "betas": reference["betas"].tolist(),
                "eps": float(reference["eps"]),
                "weight_decay": float(reference["weight_decay"]),
            },
            "clip_grad": {"max_norm": float(reference["clip_grad"])},
            "paramwise_cfg": {"not_decayed": ["cls_token"]},
        },
        param_scheduler=[
            {
                "type": "mmdino.WarmupCosineLR",
                "warmup": int(reference["warmup_epochs"]),
                "start_ratio": float(reference["warmup_lr"]) / peak,
                "end_lr": float(reference["min_lr"]),
                "delayed": True,
                "by_epoch": True,
                "convert_to_iter_based": True,
            }
        ],
        custom_hooks=[{"type": "mmdino.IterationSeedHook"}, {"type": "mmdino.FiniteLossHook"}],
    )
    runner._train_dataloader["sampler"]["shuffle"] = False
    runner.register_hook(recorder)
    runner.model.double().teachers[0].frozen.network.double()
    start = tiny_distillation.model_weights(golden("distillation_train", "train/start/"))
    torch.save({"state_dict": start}, tmp_path / "start.pth")
    runner._load_from = str(tmp_path / "start.pth")

    runner.train()

    for name, values in recorder.seen.items():
        found = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(found, reference[name], rtol=0, atol=1e-9, msg=f"{name} {found}")
    state = runner.model.state_dict()
    end = tiny_distillation.model_weights(golden("distillation_train", "train/end/"))
    assert state.keys() - end.keys() == {"teachers.0.frozen.sha256"}
    for name, expected in end.items():
        torch.testing.assert_close(state[name], expected, rtol=0, atol=1e-9, msg=name)


def test_decay_groups_are_the_references(reference, teacher):
    built = MODELS.build(model(teacher))
    decayed, others = parameter_groups(built, not_decayed=["cls_token", "gamma1.weight"])
    names = {parameter: name for name, parameter in built.named_parameters()}
    back = {"position_encoding.table": "rel_pos_bias.relative_position_bias_table"}
    for group, expected in ((decayed, "decayed"), (others, "not_decayed")):
        found = set()
        for parameter in group["params"]:
            part, _, name = names[parameter].partition(".")
            if part == "projectors":
                found.add(f"decoder.{name}")
                continue
            (theirs,) = rename({back.get(name, name): None}, authors_vit.FROM_MMDINO)
            theirs = theirs.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2")
            # One bias of queries, keys and values in place of two.
            parts = ("q_bias", "v_bias") if theirs.endswith("qkv.bias") else (None,)
            found |= {
                f"encoder.{theirs.replace('qkv.bias', own) if own else theirs}" for own in parts
            }
        assert found == set(reference[expected])

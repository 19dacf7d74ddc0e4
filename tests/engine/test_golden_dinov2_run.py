"""Whole runs of DINOv2 equal the reference's, number for number.

Three epochs of two iterations on given views and masks: model, hooks, optimiser wrapper,
constructor, schedulers and loop are the shipped ones.
"""

from __future__ import annotations

import pytest
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import MODELS
from torch import nn
from torch.utils.data import Dataset

from mmdino.engine.optimizers import DecayGroupsConstructor
from mmdino.models.layers import stochastic_depth
from mmdino.weights.layouts import authors_vit

BATCH, EPOCHS, ITERATIONS = 3, 3, 2
CASES = {
    "centring_shared": {},
    "sinkhorn_separate": {"targets": "sinkhorn_knopp", "registers": 2, "patch_prototypes": 20},
    "sinkhorn_shared_swiglu_droppath": {
        "targets": "sinkhorn_knopp",
        "ffn": "swiglu",
        "drop_path_rate": 0.4,
    },
}
NETWORKS = {"backbone": "backbone", "dino_head": "head", "ibot_head": "patch_head"}
"""Our name of each network of the reference."""


def model_config(targets="centered", registers=0, patch_prototypes=None, **backbone):
    head = {
        "type": "mmdino.DINOHead",
        "in_channels": 12,
        "out_channels": 24,
        "hidden_channels": 16,
        "bottleneck_channels": 8,
        "norm_last_layer": False,
    }
    antialias = {"pos_embed_antialias": True, "pos_embed_offset": 0.0} if registers else {}
    patch_head = {**head, "out_channels": patch_prototypes} if patch_prototypes else None
    return {
        "type": "mmdino.DINOv2",
        "backbone": {
            "type": "mmdino.VisionTransformer",
            "arch": {
                "embed_dims": 12,
                "num_layers": 2,
                "num_heads": 2,
                "feedforward_channels": 48,
            },
            "img_size": 16,
            "patch_size": 4,
            "out_type": "features",
            "mask_token": True,
            "num_registers": registers,
            "layer_scale_init_value": 1e-5,
            "drop_path_uniform": True,
            "drop_path_rows": True,
            **antialias,
            **backbone,
        },
        "head": head,
        "patch_head": patch_head,
        "loss": {"targets": targets, "teacher_temp": 0.07},
        "ibot": {"targets": targets, "teacher_temp": 0.07},
        "data_preprocessor": {"mean": [0.0] * 3, "std": [1.0] * 3, "bgr_to_rgb": False},
    }


def in_our_names(weights):
    """Weights of the reference as a state dict of one network of ours."""
    ours = {}
    for network, name in NETWORKS.items():
        part = {
            key.removeprefix(f"{network}."): tensor
            for key, tensor in weights.items()
            if key.startswith(f"{network}.")
        }
        if network == "backbone":
            part = authors_vit.to_mmdino(part)
        ours |= {f"{name}.{key}": tensor for key, tensor in part.items()}
    return ours


class GivenBatches(Dataset):
    """The reference's crops and masks, image by image, in the order of its iterations."""

    metainfo: dict = {}

    def __init__(self, global_crops, local_crops, masks):
        self.views = [
            crops.double().unflatten(1, (2, BATCH)) for crops in (global_crops, local_crops)
        ]
        self.masks = masks.unflatten(1, (2, BATCH))

    def __len__(self):
        return ITERATIONS * BATCH

    def __getitem__(self, index):
        _, epoch, _ = index.seed
        iteration, image = divmod(int(index), BATCH)
        iteration += epoch * ITERATIONS
        views = [crops[iteration, view, image] for crops in self.views for view in range(2)]
        return {"inputs": views, "mask": self.masks[iteration, :, image]}


def collate(batch):
    masks = torch.stack([sample["mask"] for sample in batch], dim=1)
    views = [torch.stack(view) for view in zip(*(s["inputs"] for s in batch), strict=True)]
    return {"inputs": views, "masks": masks, "mask_indices": masks.flatten().nonzero().squeeze(1)}


class Recorder(Hook):
    """Notes what the iterations used and left."""

    priority = "LOWEST"

    def __init__(self):
        self.rows = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        group = runner.optim_wrapper.optimizer.param_groups[0]
        self.rows.append({"lr": group["lr"], "weight_decay": group["weight_decay"]})

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        scalars = runner.message_hub.log_scalars
        self.rows[-1] |= {
            **{name: outputs[name].item() for name in ("loss", "dino", "ibot", "koleo")},
            "momentum": scalars["train/teacher_momentum"].current(),
            "teacher_temp": scalars["train/teacher_temp"].current(),
            "grad_norm": scalars["train/grad_norm"].current(),
        }


@pytest.mark.parametrize("case", CASES)
def test_run_equals_the_reference(golden, tmp_path, case, monkeypatch):
    reference = golden("dinov2_step", f"{case}/")
    prototypes = ["head.last_layer"]
    if "patch_prototypes" in CASES[case]:
        prototypes.append("patch_head.last_layer")
    runner = tiny_run.build(
        tmp_path,
        dataset=GivenBatches(*(reference[n] for n in ("global_crops", "local_crops", "masks"))),
        batch_size=BATCH,
        epochs=EPOCHS,
        model=model_config(**CASES[case]),
        wrapper={
            "optimizer": {"type": "AdamW", "lr": 0.02, "weight_decay": 0.04},
            "clip_grad": {"type": "per_network", "max_norm": 0.5},
            "paramwise_cfg": {"layer_decay": 0.9, "patch_embed_lr_mult": 0.2},
        },
        param_scheduler=[
            {
                "type": f"mmdino.{name}",
                "by_epoch": True,
                "convert_to_iter_based": True,
                **options,
            }
            for name, options in {
                "WarmupCosineLR": {"warmup": 1, "end_lr": 1e-6},
                "CosineWeightDecay": {"end_value": 0.4},
            }.items()
        ],
        custom_hooks=tiny_run.hooks(
            EMATeacherHook={"momentum": 0.9},
            CenterUpdateHook={} if case == "centring_shared" else None,
            LastLayerFreezeHook={"epochs": 1, "layer": prototypes, "what": "step"},
            TeacherTempWarmupHook={"start": 0.04, "epochs": 2, "by_step": True},
        ),
    )
    loader = runner._train_dataloader
    loader["sampler"]["shuffle"] = False
    loader["collate_fn"] = collate
    recorder = Recorder()
    runner.register_hook(recorder)
    runner.model.double()
    weights = {
        name.removeprefix("start/"): tensor
        for name, tensor in reference.items()
        if name.startswith("start/")
    }
    start = in_our_names(weights)
    start |= {f"teacher.{name}": tensor for name, tensor in start.items()}
    centers = {n: torch.zeros_like(b) for n, b in runner.model.named_buffers() if "center" in n}
    torch.save({"state_dict": {**centers, **start}}, tmp_path / "start.pth")
    runner._load_from = str(tmp_path / "start.pth")
    rows = iter(())
    if "perms_global" in reference:
        rows = iter(orders(reference))
        monkeypatch.setattr(stochastic_depth, "kept_rows", lambda n, rate, device: next(rows))

    runner.train()

    log = dict(zip(reference["log_columns"].tolist(), reference["log"].T, strict=True))
    expected = {
        "loss": log["total"],
        "dino": log["dino_local_crops_loss"] + log["dino_global_crops_loss"],
        # As logged by the authors they are half of what is optimised.
        "ibot": 2 * log["ibot_loss"],
        "koleo": 2 * log["koleo_loss"],
        **{name: log[name] for name in ("lr", "weight_decay", "momentum", "teacher_temp")},
        "grad_norm": reference["grad_norms"].square().sum(1).sqrt(),
    }
    for name, values in expected.items():
        found = torch.tensor([row[name] for row in recorder.rows], dtype=torch.float64)
        torch.testing.assert_close(found, values, rtol=0, atol=1e-9, msg=f"{name}: {found}")
    state = runner.model.state_dict()
    for network, prefix in (("student", ""), ("teacher", "teacher.")):
        end = {
            name.removeprefix(f"{network}_end/"): tensor
            for name, tensor in reference.items()
            if name.startswith(f"{network}_end/")
        }
        for name, tensor in in_our_names(end).items():
            torch.testing.assert_close(state[prefix + name], tensor, rtol=0, atol=1e-9, msg=name)
    assert next(rows, None) is None


def orders(reference):
    """Rows that stochastic depth keeps, as our passes ask for them: globals of a step, locals."""
    kept = int(2 * BATCH * (1 - CASES["sinkhorn_shared_swiglu_droppath"]["drop_path_rate"]))
    views = [reference[name].unflatten(0, (-1, 4)) for name in ("perms_global", "perms_local")]
    for draws in zip(*views, strict=True):
        for of_views in draws:
            yield from of_views[:, :kept]


@pytest.mark.parametrize("wrapper_of", [lambda model: model, nn.DataParallel])
@pytest.mark.parametrize("case", CASES)
def test_groups_are_the_references(golden, case, wrapper_of):
    reference = golden("dinov2_step", f"{case}/group/")
    model = MODELS.build(model_config(**CASES[case]))
    wrapper = DecayGroupsConstructor(
        {
            "type": "mmdino.StepOptimWrapper",
            "optimizer": {"type": "AdamW", "lr": 1.0, "weight_decay": 1.0},
        },
        {"layer_decay": 0.9, "patch_embed_lr_mult": 0.2},
    )(wrapper_of(model))
    names = {parameter: name for name, parameter in model.named_parameters()}
    found = {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in wrapper.optimizer.param_groups
        for parameter in group["params"]
    }
    multipliers = zip(reference["lr_multiplier"], reference["wd_multiplier"], strict=True)
    expected = dict(zip(reference["name"].tolist(), map(torch.stack, multipliers), strict=True))
    expected = in_our_names(expected)
    assert found.keys() == expected.keys()
    for name, pair in expected.items():
        assert found[name] == pytest.approx(pair.tolist()), name

"""A linear evaluation of several rates in one run is that of each rate alone."""

from __future__ import annotations

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from tiny_run import ARCH, LabelledImages, config, loader, train_double

RATES = (0.01, 0.5, 20.0)
CLASSES = 4


def evaluation(work_dir, lrs=RATES, batch_size=4, counts=1, **options):
    """Builds the Runner of a linear evaluation of an untrained ViT of width 12."""
    model = {
        "type": "ImageClassifier",
        "data_preprocessor": {"mean": [0.0] * 3, "std": [1.0] * 3},
        "backbone": {
            "type": "mmdino.FrozenBackbone",
            "backbone": {
                "type": "mmdino.VisionTransformer",
                "arch": ARCH,
                "img_size": 32,
                "patch_size": 8,
                "out_type": "raw",
                "out_indices": [0, 1],
                "norm_outputs": True,
                "drop_path_rate": 0.5,
            },
        },
        "neck": {"type": "mmdino.TokenFeature"},
        "head": {
            "type": "mmdino.LinearProbeHead",
            "in_channels": 24,
            "num_classes": CLASSES,
            "lrs": lrs,
        },
    }
    sampler = {"type": "mmdino.EpochSampler", "shuffle": True}
    cfg = config(
        work_dir,
        model=model,
        train_dataloader=loader(LabelledImages(10, CLASSES), batch_size, sampler=sampler),
        train_cfg={"type": "mmdino.ResumableTrainLoop", "max_epochs": 3, "val_at_start": False},
        optim_wrapper={
            "type": "mmdino.StepOptimWrapper",
            "constructor": "mmdino.LinearProbeConstructor",
            "optimizer": {"type": "SGD", "momentum": 0.9, "weight_decay": 0.0},
            "accumulative_counts": counts,
        },
        auto_scale_lr={"enable": True, "base_batch_size": 256},
        param_scheduler=[{"type": "CosineAnnealingLR", "eta_min": 0.0, "by_epoch": True}],
        custom_hooks=[{"type": "mmdino.IterationSeedHook"}],
    )
    return Runner(**cfg | options)


class RateRecorder(Hook):
    """Notes the rates of all probes that each micro-batch uses."""

    def __init__(self):
        self.rows = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rows.append([group["lr"] for group in runner.optim_wrapper.optimizer.param_groups])


def probe(state, index):
    return {name: state[f"head.probes.{index}.{name}"] for name in ("weight", "bias")}


def train_from(start, runner):
    """Trains in float64 from given weights; further probes start like the first."""
    model = runner.model
    first = {name: tensor for name, tensor in start.items() if "probes" not in name}
    model.load_state_dict(first, strict=False)
    for one in model.head.probes:
        one.load_state_dict(probe(start, 0))
    model.init_weights = lambda: None
    return train_double(runner)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return evaluation(tmp_path_factory.mktemp("start"), lrs=0.1).model.state_dict()


@pytest.fixture(scope="module")
def together(tmp_path_factory, start):
    return train_from(start, evaluation(tmp_path_factory.mktemp("together")))


@pytest.mark.parametrize("index", range(len(RATES)))
def test_each_probe_is_what_it_would_be_alone(tmp_path, start, together, index):
    alone = train_from(start, evaluation(tmp_path, lrs=RATES[index]))
    torch.testing.assert_close(probe(together, index), probe(alone, 0), rtol=0, atol=1e-12)


def test_rates_make_a_difference(together):
    slow, fast = probe(together, 0)["weight"], probe(together, 2)["weight"]
    assert (slow - fast).abs().max() > 0.1


def test_two_halves_of_a_batch_are_the_batch(tmp_path, start, together):
    # 10 images make 3 batches of 4, the last with 2; in halves, 2 and 2, 2 and 2, and 2 alone.
    halves = train_from(start, evaluation(tmp_path, batch_size=2, counts=2))
    for index in range(len(RATES)):
        torch.testing.assert_close(probe(halves, index), probe(together, index), rtol=0, atol=1e-12)


def test_rate_is_linear_in_the_batch_and_falls_on_a_cosine_by_epochs(tmp_path):
    runner = evaluation(tmp_path, batch_size=2, counts=2)
    recorder = RateRecorder()
    runner.register_hook(recorder)
    runner.train()
    scale = 4 / 256
    for epoch, fraction in enumerate((1.0, 0.75, 0.25)):
        for row in recorder.rows[5 * epoch : 5 * epoch + 5]:
            assert row == pytest.approx([rate * scale * fraction for rate in RATES])


def test_backbone_does_not_move(tmp_path):
    runner = evaluation(tmp_path)
    runner.model.init_weights()
    runner.model.init_weights = lambda: None
    before = {name: tensor.clone() for name, tensor in runner.model.backbone.state_dict().items()}
    runner.train()
    for name, tensor in runner.model.backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert not any(module.training for module in runner.model.backbone.backbone.modules())


def test_validation_reports_every_rate_and_the_best(tmp_path):
    runner = evaluation(
        tmp_path,
        val_dataloader=loader(LabelledImages(8, CLASSES, seed=1)),
        val_cfg={"type": "ValLoop"},
        val_evaluator={"type": "mmdino.LinearProbeMetric"},
    )
    runner.train()
    found = runner.val()
    each = [found[f"linear/lr{rate:g}_top1"] for rate in RATES]
    assert found["linear/top1"] == max(each)
    assert found["linear/top5"] == 100.0


def test_mixed_precision_trains_the_probes(tmp_path):
    wrapper = {
        "type": "mmdino.StepOptimWrapper",
        "precision": "bfloat16",
        "constructor": "mmdino.LinearProbeConstructor",
        "optimizer": {"type": "SGD", "momentum": 0.9, "weight_decay": 0.0},
    }
    runner = evaluation(tmp_path, optim_wrapper=wrapper)
    runner.train()
    for one in runner.model.head.probes:
        assert one.weight.dtype == torch.float32
        assert one.weight.isfinite().all()
        assert one.bias.abs().max() > 0


def test_a_label_outside_of_the_head_stops_the_run(tmp_path):
    with pytest.raises(ValueError, match=r"Labels \[4\].*num_classes=4"):
        evaluation(tmp_path, train_dataloader=loader(LabelledImages(5, 5))).train()

"""Training in bfloat16 and float16, on a CPU too."""

from __future__ import annotations

import pytest
import tiny_run
import torch
from mmengine.registry import init_default_scope

STEPS = 60


def losses(work_dir, **wrapper):
    """Losses of steps on one batch towards a teacher and a centre that stay.

    They do after the first step, in which the centre takes up the mean of the teacher's logits.
    """
    model = tiny_run.vit_model(loss={"center_momentum": 0.0})
    # Weights of deviation 0.02 need some width, else the features that are normalised are so small
    # that their gradients overflow float16 at any scale.
    model["head"]["hidden_channels"] = 512
    runner = tiny_run.build(
        work_dir,
        model=model,
        dataset=tiny_run.RandomViews(4),
        batch_size=4,
        epochs=STEPS,
        wrapper=wrapper,
        default_hooks={"checkpoint": None},
        custom_hooks=tiny_run.hooks(
            EMATeacherHook={"momentum": 1.0}, TeacherTempWarmupHook=None, LastLayerFreezeHook=None
        ),
    )
    # An index without a seed: the same views in every epoch.
    runner._train_dataloader["sampler"] = {"type": "DefaultSampler", "shuffle": False}
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    runner.train()
    assert recorder.column("step") == [True] * STEPS
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}
    return recorder.column("loss")[1:]


@pytest.fixture(scope="module")
def single_precision(tmp_path_factory):
    init_default_scope("mmpretrain")
    return losses(tmp_path_factory.mktemp("single"))


@pytest.mark.parametrize(
    "options",
    [{"precision": "bfloat16"}, {"precision": "float16", "loss_scale": 64.0}],
    ids=["bfloat16", "float16"],
)
def test_loss_comes_down_as_in_single_precision(tmp_path, single_precision, options):
    mixed = losses(tmp_path, **options)
    assert mixed[-1] < 0.6 * mixed[0]
    assert mixed == pytest.approx(single_precision, rel=0.03)
    assert mixed != single_precision

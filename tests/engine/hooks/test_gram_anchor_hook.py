"""Schedule and teacher of the Gram term through the Runner."""

from __future__ import annotations

import math

import pytest
import tiny_dinov2
import tiny_run
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmpretrain.structures import DataSample

STEPS = 9
SCHEDULE = {
    "start": 2,
    "warmup": 4,
    "first_refresh": 2,
    "refresh_interval": 3,
    "max_refreshes": 2,
    "local_weight": 0.5,
}
OWN = {"teacher": {}, "weight": 2.0}


class CleanViews(tiny_run.RandomViews):
    """Views with undistorted crops beside the global ones, and seeds for the masks."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        sample["data_samples"] = DataSample(metainfo={"sample_idx": index})
        generator = torch.Generator().manual_seed(int(index))
        shape = (2, 3, 2 * tiny_dinov2.VIEW, 2 * tiny_dinov2.VIEW)
        sample["clean_views"] = list(torch.randn(shape, generator=generator, dtype=self.dtype))
        return sample


class SeededViews(CleanViews):
    """The same without undistorted crops."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        del sample["clean_views"]
        return sample


class Recorder(Hook):
    """Notes what each micro-batch used: weights of terms, the term, and the Gram teacher."""

    priority = "LOWEST"

    def __init__(self):
        self.rows = []
        self.teachers = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.teachers.append(tiny_run.flat(runner.model.teacher["backbone"].parameters()))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = runner.model
        gram = model.gram_anchor.backbone
        self.rows.append(
            {
                "weight": model.gram_anchor.current_gram_weight,
                "local": model.dino_loss.local_weight,
                "gram": outputs["gram"].item(),
                "teacher": None if gram is None else tiny_run.flat(gram.parameters()),
                "logged": runner.message_hub.get_scalar("train/gram_weight").current(),
            }
        )

    def column(self, name):
        return [row[name] for row in self.rows]


def config(work_dir, hook, gram=OWN, clean=True, counts=1, **options):
    dataset = (CleanViews if clean else SeededViews)(12, torch.float64)
    hooks = tiny_run.hooks(LastLayerFreezeHook=None)
    if hook is not None:
        hooks.append({"type": "mmdino.GramAnchorHook", **hook})
    cfg = tiny_run.config(
        work_dir,
        model=tiny_dinov2.model(gram=gram),
        dataset=dataset,
        batch_size=4 // counts,
        accumulative_counts=counts,
        epochs=STEPS // 3,
        custom_hooks=hooks,
        default_hooks={
            "checkpoint": {"type": "mmdino.CheckpointHook", "interval": 1},
            "checkpoint_match": {"type": "mmdino.CheckpointMatchHook"},
        },
        **options,
    )
    cfg["train_dataloader"]["collate_fn"] = {
        "type": "mmdino.BlockMasks",
        "view_size": tiny_dinov2.VIEW,
        "patch_size": tiny_dinov2.PATCH,
    }
    return cfg


def train(work_dir, hook, **options):
    runner = tiny_run.Runner(**config(work_dir, hook, **options))
    recorder = Recorder()
    runner.register_hook(recorder)
    state = tiny_run.train_double(runner)
    return recorder, state, runner


def rise(step, start=2, warmup=4):
    """From 0 at the first step of the warm-up to 1 at its last."""
    position = min(max((step - start) / (warmup - 1), 0), 1)
    return (1 - math.cos(math.pi * position)) / 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of nine steps: what it recorded, its end, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    recorder, state, _ = train(folder, SCHEDULE)
    return recorder, state, folder


def test_weights_follow_the_step(whole):
    recorder, _, _ = whole
    expected = [2 * rise(step) for step in range(STEPS)]
    assert recorder.column("weight") == pytest.approx(expected, abs=1e-12)
    assert recorder.column("logged") == recorder.column("weight")
    expected = [1 - 0.5 * rise(step) for step in range(STEPS)]
    assert recorder.column("local") == pytest.approx(expected, abs=1e-12)
    assert [term > 0 for term in recorder.column("gram")] == [step > 2 for step in range(STEPS)]


def test_teacher_is_copied_at_the_steps_asked_for(whole):
    recorder, _, _ = whole
    teachers = recorder.column("teacher")
    assert torch.equal(teachers[0], teachers[1])
    for step in range(2, STEPS):
        copied_at = 2 if step < 5 else 5
        assert torch.equal(teachers[step], recorder.teachers[copied_at])
    assert not torch.equal(recorder.teachers[2], recorder.teachers[5])


def test_a_resumed_run_equals_the_whole_one(whole, tmp_path):
    """From the end of an epoch in the warm-up, between the two copies."""
    _, expected, folder = whole
    options = {"resume": True, "load_from": str(folder / "epoch_1.pth")}
    recorder, state, _ = train(tmp_path, SCHEDULE, **options)
    assert len(recorder.rows) == 6
    assert any(name.startswith("gram_anchor.backbone.") for name in state)
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_with_accumulation_the_steps_are_the_same(whole, tmp_path):
    recorder, _, _ = train(tmp_path, SCHEDULE, counts=4)
    expected, _, _ = whole
    for name in ("weight", "local"):
        assert recorder.column(name)[::4] == recorder.column(name)[3::4] == expected.column(name)
    teachers = recorder.column("teacher")
    for step in range(2, STEPS):
        copied_at = 4 * (2 if step < 5 else 5)
        for part in range(4):
            assert torch.equal(teachers[4 * step + part], recorder.teachers[copied_at])


def test_a_new_run_starts_with_the_gram_teacher_of_its_config(whole, tmp_path):
    """Not with that of the checkpoint: with ``first_refresh=0`` it is the checkpoint's teacher."""
    _, state, folder = whole
    hook = {"first_refresh": 0}
    recorder, _, _ = train(tmp_path, hook, load_from=str(folder / "epoch_3.pth"), clean=False)
    loaded = [t for n, t in state.items() if n.startswith("teacher.backbone.")]
    found = recorder.column("teacher")
    assert all(torch.equal(teacher, tiny_run.flat(loaded)) for teacher in found)
    assert recorder.column("weight") == [2.0] * STEPS
    assert all(term > 0 for term in recorder.column("gram")[1:])


def test_a_run_without_gram_term_may_start_one_with_it(tmp_path):
    first = config(tmp_path / "first", None, gram=None, clean=False)
    first["train_cfg"]["max_epochs"] = 1
    tiny_run.train_double(tiny_run.Runner(**first))
    checkpoint = str(tmp_path / "first" / "epoch_1.pth")
    recorder, _, _ = train(
        tmp_path / "then", {"start": 1}, gram={"teacher": "ema"}, clean=False, load_from=checkpoint
    )
    assert recorder.column("weight") == [0.0] + [2.0] * (STEPS - 1)
    assert all(term > 0 for term in recorder.column("gram")[1:])


@pytest.mark.parametrize(
    ("hook", "gram", "message"),
    [
        ({"start": 9}, {"teacher": "ema"}, r"start=9, but the run has 9 optimiser step\(s\)"),
        ({"start": 8, "first_refresh": 9}, OWN, "first_refresh=9, but the run has 9"),
        ({"start": 3}, OWN, r"random at step 3.*first_refresh=None\. Set first_refresh to 3 or"),
        ({"start": 3, "first_refresh": 4}, OWN, "random at step 3.*Set first_refresh to 3 or less"),
        ({"first_refresh": 0}, OWN, "before training, which is random.* Set load_from"),
        ({"start": 3, "first_refresh": 0}, OWN, "before training, which is random"),
        ({"first_refresh": 0}, {"teacher": "ema"}, "is the teacher of moving averages itself"),
        (None, OWN, r"nothing updates its gram_teacher\. .*dict\(type='mmdino.GramAnchorHook'\)"),
    ],
)
def test_a_run_that_would_have_no_gram_teacher_is_refused(tmp_path, hook, gram, message):
    runner = tiny_run.Runner(**config(tmp_path, hook, gram=gram, clean=False))
    with pytest.raises(ValueError, match=message):
        tiny_run.train_double(runner)


@pytest.mark.parametrize(("gram", "hook"), [(None, {}), (None, {"local_weight": 0.5})])
def test_the_hook_without_gram_term_is_refused(tmp_path, gram, hook):
    runner = tiny_run.Runner(**config(tmp_path, hook, gram=gram, clean=False))
    with pytest.raises(TypeError, match=r"GramAnchorHook works on a model with .*gram_weight"):
        runner.train()


def test_a_weight_that_the_run_does_not_come_to_is_told(tmp_path):
    hook = {"start": 8, "warmup": 2}
    _, _, runner = train(tmp_path, hook, gram={"teacher": "ema"}, clean=False)
    assert "the weight does not come to 2.0" in tiny_run.log_text(runner)


def test_options_of_copies_without_the_first_are_refused():
    with pytest.raises(ValueError, match=r"refresh_interval=5 .* without first_refresh\. Set"):
        HOOKS.build({"type": "mmdino.GramAnchorHook", "refresh_interval": 5})


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, []),
        ({"first_refresh": 3}, [3]),
        ({"first_refresh": 0, "refresh_interval": 4}, [0, 4, 8, 12, 16]),
        ({"first_refresh": 5, "refresh_interval": 6, "max_refreshes": 2}, [5, 11]),
    ],
)
def test_steps_of_copies(options, steps):
    hook = HOOKS.build({"type": "mmdino.GramAnchorHook", **options})
    assert [step for step in range(20) if hook.refreshes_before(step)] == steps

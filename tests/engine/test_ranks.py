"""Two processes with half the batch each equal one process with the whole batch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tiny_run
import torch

SCRIPT = '''
"""All runs alone, then again as two ranks."""
import os
import sys

import tiny_run
import torch
from mmengine.model import is_model_wrapper
from mmengine.registry import init_default_scope
from torch.distributed import destroy_process_group, init_process_group

batch_size, folder = 8, sys.argv[1]


def distributed(ranks, **options):
    """Config of a distributed run; mmengine's default for it is for accelerators."""
    if ranks == 1:
        return {}
    wrapper = {"type": "MMDistributedDataParallel", "device_ids": None, **options}
    return {"launcher": "pytorch", "cfg": {"model_wrapper_cfg": wrapper}}


class SkippingViews(tiny_run.RandomViews):
    """Says of each fourth image that another could not be read."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        if index % 4 == 3:
            skipped = [f"images/broken_{int(index)}.jpg"]
            sample["data_samples"].set_metainfo({"skipped_paths": skipped})
        return sample


def train(name, model, ranks, counts=1, broadcast_buffers=False, **options):
    runner = tiny_run.build(
        f"{folder}/{name}-{ranks}",
        model=model,
        batch_size=batch_size // ranks // counts,
        accumulative_counts=counts,
        dataset=SkippingViews(2 * batch_size, torch.get_default_dtype()),
        **distributed(ranks, broadcast_buffers=broadcast_buffers),
        **options,
    )
    recorder = tiny_run.Recorder()
    runner.register_hook(recorder)
    runner.train()
    network = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return {
        "wrapper": type(runner.model).__name__,
        "rows": recorder.rows,
        "end": network.state_dict(),
        "unreadable": runner.message_hub.get_info("unreadable_images"),
    }


def validate(ranks):
    runner = tiny_run.build(
        f"{folder}/knn-{ranks}",
        val_dataloader=tiny_run.loader(tiny_run.LabelledImages(13, 7), batch_size=3),
        val_cfg={
            "type": "mmdino.KNNValLoop",
            "bank_dataloader": tiny_run.loader(tiny_run.LabelledImages(29, 7, seed=1)),
        },
        val_evaluator={"type": "mmdino.KNNMetric", "k": (1, 5, 20)},
        **distributed(ranks),
    )
    return {"metrics": runner.val(), "bank": runner.val_loop.fill_bank()}


def all_runs(ranks):
    return {
        "vit": train("vit", tiny_run.vit_model(), ranks),
        "accumulating": train(
            "accumulating", tiny_run.vit_model(), ranks, counts=ranks, broadcast_buffers=True
        ),
        "resnet": train("resnet", tiny_run.resnet_model(), ranks),
        "knn": validate(ranks),
    }


init_default_scope("mmpretrain")
torch.set_default_dtype(torch.float64)
torch.save(all_runs(1), f"{folder}/alone.pth")
other = os.fork()
rank = 0 if other else 1
os.environ["LOCAL_RANK"] = str(rank)
init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
seen = all_runs(2)
torch.set_default_dtype(torch.float32)
model = tiny_run.vit_model()
model["head"]["use_bn"] = True
seen["bfloat16"] = train(
    "bfloat16",
    model,
    2,
    wrapper={"precision": "bfloat16"},
)
torch.save(seen, f"{folder}/{rank}.pth")
destroy_process_group()
if other:
    assert os.waitpid(other, 0)[1] == 0, "rank 1 failed"
'''


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a process alone (key "alone") and each rank (keys 0 and 1) saw."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "train.py").write_text(SCRIPT)
    subprocess.run(
        [sys.executable, str(folder / "train.py"), str(folder)],
        env=tiny_run.script_env(CUDA_VISIBLE_DEVICES="", GLOO_SOCKET_IFNAME="lo"),
        stdout=subprocess.DEVNULL,
        timeout=300,
        check=True,
    )
    return {
        name: torch.load(folder / f"{name}.pth", weights_only=False) for name in ("alone", 0, 1)
    }


@pytest.mark.parametrize("model", ["vit", "resnet"])
def test_losses_centre_and_networks_equal(seen, model):
    alone, *ranks = (seen[name][model] for name in ("alone", 0, 1))
    assert alone["wrapper"] == "DINO"
    assert {rank["wrapper"] for rank in ranks} == {"MMDistributedDataParallel"}
    assert len(alone["rows"]) == 4
    for row, *halves in zip(alone["rows"], *(rank["rows"] for rank in ranks), strict=True):
        assert row["loss"] == pytest.approx(sum(half["loss"] for half in halves) / 2, abs=1e-9)
        for half in halves:
            for name in ("center", "student", "teacher"):
                torch.testing.assert_close(half[name], row[name], rtol=0, atol=1e-9, msg=name)


def test_accumulation_over_ranks_is_one_batch(seen):
    """Two ranks with two micro-batches of two, and a wrapper that broadcasts rank 0's buffers."""
    alone, *ranks = (seen[name]["accumulating"]["rows"] for name in ("alone", 0, 1))
    for rank in ranks:
        assert [row["step"] for row in rank] == [False, True] * len(alone)
        for row, expected in zip(rank[1::2], alone, strict=True):
            for name in ("center", "student", "teacher"):
                torch.testing.assert_close(row[name], expected[name], rtol=0, atol=1e-9, msg=name)


@pytest.mark.parametrize("model", ["vit", "resnet"])
def test_state_dicts_equal(seen, model):
    """Running statistics of batch norm, of student and teacher, included."""
    alone, *ranks = (seen[name][model]["end"] for name in ("alone", 0, 1))
    statistics = [name for name in alone if name.endswith("running_var")]
    assert len(statistics) == {"vit": 0, "resnet": 2 * (20 + 2)}[model]
    for rank in ranks:
        assert list(rank) == list(alone)
        for name, tensor in alone.items():
            torch.testing.assert_close(rank[name], tensor, rtol=0, atol=1e-9, msg=name)


def test_teachers_statistics_are_its_own(seen):
    end = seen["alone"]["resnet"]["end"]
    name = "backbone.bn1.running_mean"
    assert not torch.allclose(end[f"teacher.{name}"], end[name], rtol=0, atol=1e-3)


def test_batch_norm_over_cpu_ranks_runs_in_mixed_precision(seen):
    rows, others = (seen[rank]["bfloat16"]["rows"] for rank in (0, 1))
    for row, other in zip(rows, others, strict=True):
        assert torch.isfinite(torch.tensor(row["loss"]))
        for name in ("center", "student", "teacher"):
            assert torch.equal(row[name], other[name]), name


def test_validation_by_nearest_neighbours_equals(seen):
    """13 queries and 29 bank images, which two ranks cannot share evenly."""
    alone, *ranks = (seen[name]["knn"] for name in ("alone", 0, 1))
    assert len(set(alone["metrics"].values())) > 3, "the images tell something"
    for rank in ranks:
        assert rank["metrics"] == alone["metrics"]
    features, labels = ranks[0]["bank"]
    assert torch.equal(labels, alone["bank"][1])
    torch.testing.assert_close(features, alone["bank"][0], rtol=0, atol=1e-6)


def test_unreadable_images_of_all_ranks_are_in_one_record(seen):
    expected = [f"images/broken_{index}.jpg" for index in (11, 15, 3, 7)]
    for name in ("alone", 0, 1):
        assert sorted(seen[name]["vit"]["unreadable"]) == expected

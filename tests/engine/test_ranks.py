"""Two processes with half the batch each equal one process with the whole batch."""

from __future__ import annotations

import pytest
import torch
from script_process import run_script


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a process alone (key "alone") and each rank (keys 0 and 1) saw."""
    folder = tmp_path_factory.mktemp("ranks")
    run_script("train_on_two_ranks.py", folder)
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

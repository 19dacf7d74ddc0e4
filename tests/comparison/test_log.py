"""The log of a run is read over all its starts, and what was done twice counts once."""

from __future__ import annotations

import json

from mmdino.comparison.log import last_iteration, read_log


def write(folder, start, *lines):
    path = folder / start / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text(
        "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    )


def training(iteration, loss):
    return {"loss": loss, "epoch": 1, "iter": iteration, "step": iteration}


def test_what_an_interrupted_run_did_again_counts_once(tmp_path):
    write(tmp_path, "20260101_000001", training(1, 5.0), training(2, 4.0), training(3, 9.0))
    write(tmp_path, "20260101_000002", training(3, 3.0), {"knn/top1": 50.0, "step": 1})
    log = read_log(tmp_path)
    assert {i: values["loss"] for i, values in log.training.items()} == {1: 5.0, 2: 4.0, 3: 3.0}
    assert log.validation == {1: {"knn/top1": 50.0, "step": 1}}


def test_of_a_used_folder_the_starts_of_one_run_are_read(tmp_path):
    first, second = "20260101_000001", "20260101_000002"
    write(tmp_path, first, training(7, 5.0))
    write(tmp_path, second, training(1, 4.0))
    assert list(read_log(tmp_path, [second]).training) == [1]
    assert (last_iteration(tmp_path, [first]), last_iteration(tmp_path, [])) == (7, 0)


def test_a_line_that_a_killed_run_began_is_left_out(tmp_path):
    write(tmp_path, "20260101_000001", training(1, 5.0), '{"loss": 4.0, "it')
    assert list(read_log(tmp_path).training) == [1]
    assert last_iteration(tmp_path) == 1


def test_the_last_iteration_is_that_of_the_newest_start(tmp_path):
    assert last_iteration(tmp_path) == 0
    write(tmp_path, "20260101_000001", training(7, 5.0))
    write(tmp_path, "20260101_000002", training(3, 5.0), {"knn/top1": 50.0, "step": 1})
    assert last_iteration(tmp_path) == 3

"""A Gram teacher whose weights are spread over two ranks."""

from __future__ import annotations

import pytest
import torch
from script_process import run_script

pytestmark = pytest.mark.slow

GRAM = "gram_anchor.backbone."


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each rank saw: the Gram term and the state after each of four steps, by run."""
    folder = tmp_path_factory.mktemp("gram")
    run_script("gram_on_two_ranks.py", folder)
    return [torch.load(folder / f"{rank}.pth", weights_only=False) for rank in (0, 1)]


def assert_equal(rows, expected):
    assert len(rows) == len(expected) > 0
    for (term, state), (other_term, other) in zip(rows, expected, strict=True):
        assert term == pytest.approx(other_term, abs=1e-12)
        assert state.keys() == other.keys()
        torch.testing.assert_close(state, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("run", "plain", "first"), [("sharded", "replicated", 0), ("resumed", "sharded", 2)]
)
def test_sharded_and_resumed_runs_are_the_same(seen, run, plain, first):
    for rank in seen:
        assert_equal(rank[run], rank[plain][first:])


def test_the_teacher_is_copied_to_each_rank(seen):
    for rank in seen:
        for name in ("replicated", "sharded", "started"):
            states = [state for _, state in rank[name]]
            # Before steps 1 and 3 of steps 0 to 3, the teacher that the step before left.
            for step, left_by in ((1, 0), (2, 0), (3, 2)):
                for key, tensor in states[step].items():
                    if key.startswith(GRAM):
                        source = states[left_by][f"teacher.backbone.{key.removeprefix(GRAM)}"]
                        assert torch.equal(tensor, source)
            assert [term > 0 for term, _ in rank[name]] == [False, True, True, True]

"""Tensors are renamed by the first matching rule, and none is lost."""

from __future__ import annotations

import pytest

from mmdino.weights.layouts.renaming import rename


def test_the_first_rule_that_fits_the_start_of_a_name_counts():
    rules = ((r"a\.(\d)\.", r"b.\1."), (r"a\.", "c."))
    assert rename({"a.1.x": 1, "a.z": 2, "z.a.1.x": 3}, rules) == {
        "b.1.x": 1,
        "c.z": 2,
        "z.a.1.x": 3,
    }


def test_two_tensors_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"'a\.x' would become 'b\.x', which already exists"):
        rename({"b.x": 1, "a.x": 2}, ((r"a\.", "b."),))
